package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.eellm.config.ConfigException;
import org.eellm.decode.PooledState;
import org.eellm.decode.request.GenerateException;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.HttpJson;

/**
 * {@code POST /v1/embeddings}: texts as vectors of length 1, which are the hidden states after a
 * layer, put together. The layers above do not run.
 *
 * @param inputs ids of each text
 * @param layer from 1
 * @param form of the vectors in the answer
 */
record Embeddings(
    ServedModel model, List<List<Integer>> inputs, int layer, Pooling pooling, Form form) {
  /** Texts of one request, as OpenAI has it. */
  static final int MAX_INPUTS = 2048;

  /** How a text's hidden states become one. */
  enum Pooling {
    MEAN,
    LAST;

    PooledState of(int size, int count) {
      return this == MEAN ? PooledState.mean(size, count) : PooledState.last(size, count);
    }

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** Numbers as JSON has them, or the bytes of float32, lowest first, in base64. */
  enum Form {
    FLOAT,
    BASE64;

    Object of(float[] vector) {
      if (this == FLOAT) {
        return vector;
      }
      ByteBuffer bytes =
          ByteBuffer.allocate(Float.BYTES * vector.length).order(ByteOrder.LITTLE_ENDIAN);
      bytes.asFloatBuffer().put(vector);
      return bytes.array();
    }

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  Embeddings {
    inputs = inputs.stream().map(List::copyOf).toList();
  }

  int tokens() {
    return inputs.stream().mapToInt(List::size).sum();
  }

  /**
   * Takes all texts through the model together, and waits for them.
   *
   * @throws ApiException if the model cannot take one, or it takes too long
   */
  ObjectNode answer(RequestContext exchange) {
    List<PooledState> states = new ArrayList<>();
    List<CompletableFuture<Integer>> ends = new ArrayList<>();
    try {
      for (List<Integer> ids : inputs) {
        states.add(pooling.of(model.architecture().model().hiddenSize(), ids.size()));
        ends.add(submit(ids, states.getLast()));
      }
      for (CompletableFuture<Integer> end : ends) {
        exchange.await(millis -> next(end, millis), () -> {});
      }
    } finally {
      ends.forEach(end -> end.cancel(false)); // of what is not done
    }
    return json(states);
  }

  private CompletableFuture<Integer> submit(List<Integer> ids, PooledState state) {
    try {
      return model.engine().readHiddenStates(ids, layer, state);
    } catch (GenerateException e) {
      throw ApiException.badField("input", String.valueOf(e.getMessage()));
    } catch (ConfigException e) {
      throw ApiException.refused(501, "not_offered", String.valueOf(e.getMessage()));
    }
  }

  private static Optional<Integer> next(CompletableFuture<Integer> end, long millis)
      throws InterruptedException {
    try {
      return Optional.of(end.get(millis, TimeUnit.MILLISECONDS));
    } catch (TimeoutException e) {
      return Optional.empty();
    } catch (ExecutionException e) {
      throw e.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(e);
    }
  }

  private ObjectNode json(List<PooledState> states) {
    ObjectNode root = HttpJson.object();
    root.put("object", "list");
    ArrayNode data = root.putArray("data");
    for (PooledState state : states) {
      ObjectNode item = data.addObject();
      item.put("object", "embedding");
      item.put("index", data.size() - 1);
      item.putPOJO("embedding", form.of(state.unit())); // no node for each number
    }
    root.put("model", model.name());
    root.putObject("usage").put("prompt_tokens", tokens()).put("total_tokens", tokens());
    return root;
  }
}
