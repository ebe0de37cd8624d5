package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.eellm.config.ModelConfig;
import org.eellm.model.Decoder;
import org.eellm.model.Head;

/**
 * Continues texts with early exits (EE-LLM, arXiv 2312.04916, section 4).
 *
 * <pre>{@code
 * Request request =
 *     new Request(
 *         ids, 64, Set.of(end), ExitPolicies.maxProbability(Threshold.of(0.9)), Sampler.greedy());
 * List<Result> results =
 *     Generator.generate(model, Limits.of(model), List.of(request), TokenListener.none());
 * }</pre>
 *
 * <p>A request's text depends on the request alone: not on the others, nor on the limits. (In exact
 * arithmetic; a block of other size may round differently.)
 */
public final class Generator {
  private Generator() {}

  /**
   * Continues all requests, as many at once as the limits say, on the calling thread.
   *
   * @return a result for each request, in order
   * @throws GenerateException if a prompt does not fit the model; nothing is generated then
   */
  public static List<Result> generate(
      Decoder model, Limits limits, List<Request> requests, TokenListener listener) {
    List<List<Head>> heads = new ArrayList<>();
    for (int i = 0; i < requests.size(); i++) {
      requireFits(model.architecture().model(), requests.get(i), i);
      heads.add(heads(model, requests.get(i).policy()));
    }
    Engine engine = new Engine(model, limits.vocabSize(), limits.maxPending());
    List<Sequence> all = new ArrayList<>();
    List<Sequence> active = new ArrayList<>();
    try {
      while (all.size() < requests.size() || !active.isEmpty()) {
        while (all.size() < requests.size() && active.size() < limits.batchSize()) {
          int next = all.size();
          Sequence sequence = engine.start(next, requests.get(next), heads.get(next));
          all.add(sequence);
          active.add(sequence);
        }
        engine.step(active, listener);
        active.stream().filter(Sequence::finished).forEach(Sequence::close);
        active.removeIf(Sequence::finished);
      }
    } finally {
      active.forEach(Sequence::close);
    }
    return all.stream().map(Sequence::result).toList();
  }

  private static void requireFits(ModelConfig model, Request request, int index) {
    int length = request.prompt().size();
    int context = model.maxPositions();
    if (length >= context) {
      throw new GenerateException(
          "prompt %d has %d tokens, but the model's context is %d; shorten it to %d or less"
              .formatted(index + 1, length, context, context - 1));
    }
    if (length + request.maxTokens() > context) {
      throw new GenerateException(
          "prompt %d has %d tokens and up to %d are to follow, but the model's context is %d; use max-tokens %d or less, or a shorter prompt"
              .formatted(index + 1, length, request.maxTokens(), context, context - length));
    }
    for (int id : request.prompt()) {
      if (id < 0 || id >= model.vocabSize()) {
        throw new GenerateException(
            "prompt %d has the token %d, but the model's vocabulary ends at %d; use the model's own tokenizer"
                .formatted(index + 1, id, model.vocabSize() - 1));
      }
    }
  }

  private static List<Head> heads(Decoder model, ExitPolicy policy) {
    List<Head> heads = policy.heads(model.heads());
    if (heads.isEmpty() || !heads.equals(model.heads().stream().filter(heads::contains).toList())) {
      throw new IllegalStateException(
          "an exit policy must choose some of the model's heads in their order, but chose "
              + heads);
    }
    return heads;
  }
}
