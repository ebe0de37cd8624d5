package org.eellm.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.eellm.config.Architecture;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.token.Detokenizer;
import org.eellm.decode.token.TokenListener;

/**
 * The model that is evaluated.
 *
 * @param model in memory
 * @param engine of this model, whose queue has room for some hundred requests
 */
public record EvaluatedModel(LoadedModel model, Engine engine) {

  /** Its name in reports. */
  public String name() {
    return model.folder().toString();
  }

  public Architecture architecture() {
    return model.architecture();
  }

  public Tokenizer tokenizer() {
    return model.tokenizer();
  }

  /** Ids that end a text. */
  public Set<Integer> endTokens() {
    return model.endTokens();
  }

  /** Turns what follows a prompt into text. */
  public Detokenizer detokenizer(List<Integer> prompt) {
    return model.detokenizer(prompt);
  }

  /** Layers of the exits, from 1, ascending. */
  public List<Integer> exits() {
    return architecture().exits().layers();
  }

  /** Number of layers. */
  public int layers() {
    return architecture().model().numLayers();
  }

  /** Tokens that a text may have. */
  public int context() {
    return model.context();
  }

  /** The ids of a text, with nothing in front. */
  public List<Integer> encode(String text) {
    return Arrays.stream(tokenizer().encode(text)).boxed().toList();
  }

  /** The token in front of every text, if there is one. */
  public List<Integer> bosTokens() {
    return tokenizer().beginningOfSequence().stream().boxed().toList();
  }

  /** The token in front of a text that has nothing else in front of it. */
  public int prefixTokenId() {
    return tokenizer().beginningOfSequence().orElse(tokenizer().endOfDocument());
  }

  /**
   * Does all, and waits for it.
   *
   * @param listener receives the tokens
   * @return results in order
   */
  public List<Result> run(List<Request> all, TokenListener listener) {
    List<ResultFuture> results = new ArrayList<>();
    List<RequestHandle> handles = new ArrayList<>();
    try {
      for (int i = 0; i < all.size(); i++) {
        int index = i;
        ResultFuture result = new ResultFuture(token -> listener.onToken(index, token));
        handles.add(
            engine
                .submit(all.get(i), result)
                .orElseThrow(() -> new IllegalStateException("the engine's queue is too short")));
        results.add(result);
      }
      return results.stream().map(ResultFuture::await).toList();
    } catch (RuntimeException e) {
      handles.forEach(RequestHandle::cancel);
      throw e;
    }
  }

  /**
   * Does one after the other, alone, and waits for it: to tell how long each takes.
   *
   * @return results in order
   */
  public List<Result> runOneByOne(List<Request> all) {
    return all.stream()
        .map(request -> run(List.of(request), TokenListener.none()).getFirst())
        .toList();
  }
}
