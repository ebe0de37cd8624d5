package org.eellm.decode.request;

import java.util.List;
import org.eellm.config.ModelConfig;
import org.eellm.config.SettingException;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.request.Result.Usage;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/** A request on its way: waiting, or in work as a sequence. */
public final class Job implements RequestHandle {
  private final Request request;
  private final List<Head> heads;
  private final int vocabSize;
  private final RequestListener listener;
  private final int[] endTokens;
  private final long submitted = System.nanoTime();
  private volatile boolean cancelled;

  private Job(Request request, List<Head> heads, int vocabSize, RequestListener listener) {
    this.request = request;
    this.heads = List.copyOf(heads);
    this.vocabSize = vocabSize;
    this.listener = listener;
    endTokens = request.endTokens().stream().mapToInt(Integer::intValue).toArray();
  }

  /**
   * A request that a model can do.
   *
   * @param vocabulary whose short list gates ask for
   * @param name of the prompt, for messages
   * @throws GenerateException if it does not fit the model
   * @throws org.eellm.config.ConfigException if the model lacks what its decoding needs
   */
  public static Job of(
      DecodingModel model,
      Vocabulary vocabulary,
      Request request,
      String name,
      RequestListener listener) {
    requireFits(model.architecture().model(), request, name);
    requireAdapter(model, request);
    Gate.requireModel(request.decoding().gates(), model, vocabulary);
    requireDrafter(model, vocabulary, request.decoding());
    List<Head> heads = request.decoding().heads(model.allHeads());
    if (heads.isEmpty()
        || !heads.equals(model.allHeads().stream().filter(heads::contains).toList())) {
      throw new IllegalStateException(
          "an exit policy must choose some of the model's heads in their order, but chose "
              + heads);
    }
    return new Job(request, heads, vocabulary.size(), listener);
  }

  private static void requireAdapter(DecodingModel model, Request request) {
    int count = model.adapters().size();
    if (request.adapter() < 0 || request.adapter() > count) {
      throw new GenerateException(
          "adapter: %d is none of the model's %d; use 0 for the model as it is"
              .formatted(request.adapter(), count));
    }
  }

  private static void requireDrafter(
      DecodingModel model, Vocabulary vocabulary, DecodingMethod decoding) {
    if (!(decoding instanceof DecodingMethod.OfSource drafts)) {
      return;
    }
    DraftSource source = drafts.source();
    if (source == DraftSource.TABLE && !vocabulary.hasDraftTable()) {
      throw new SettingException(
          "draft-source",
          "table needs a draft table beside the model; make one with eellm draft-table, or use"
              + " text");
    }
    if (source == DraftSource.HEAD && model.draftHead().isEmpty()) {
      throw new SettingException(
          "draft-source",
          "head needs a draft head beside a model that one rank has on its CPU; make one with eellm"
              + " tune (tune.target: draft_head) and eellm add-draft-head, leave out --tp, --pp and"
              + " --device, or use both");
    }
  }

  private static void requireFits(ModelConfig shape, Request request, String name) {
    int length = request.prompt().size();
    int context = shape.maxPositions();
    if (length > context) {
      throw new GenerateException(
          "%s has %d tokens, but the model's context is %d; shorten it to %d or less"
              .formatted(name, length, context, context));
    }
    int most = Math.max(1, context - length); // the last token's keys and values need no place
    if (request.maxTokens() > most) {
      throw new GenerateException(
          "%s has %d tokens and up to %d are to follow, but the model's context is %d; let %d or fewer follow, or shorten the prompt"
              .formatted(name, length, request.maxTokens(), context, most));
    }
    requireIds(shape, request.prompt(), name);
  }

  /**
   * Refuses a text that does not fit the model, and that nothing is to follow.
   *
   * @param name of the text, for messages
   * @throws GenerateException if it is empty, too long, or has ids that the model has not
   */
  public static void requireText(ModelConfig shape, List<Integer> ids, String name) {
    if (ids.isEmpty()) {
      throw new GenerateException(name + " is empty; give at least one token");
    }
    if (ids.size() > shape.maxPositions()) {
      throw new GenerateException(
          "%s has %d tokens, but the model's context is %d; shorten it"
              .formatted(name, ids.size(), shape.maxPositions()));
    }
    requireIds(shape, ids, name);
  }

  private static void requireIds(ModelConfig shape, List<Integer> ids, String name) {
    for (int id : ids) {
      if (id < 0 || id >= shape.vocabSize()) {
        throw new GenerateException(
            "%s has the token %d, but the model's vocabulary ends at %d; use the model's own tokenizer"
                .formatted(name, id, shape.vocabSize() - 1));
      }
    }
  }

  /**
   * Refuses a request that can never be scheduled.
   *
   * @param name of the prompt, for messages
   */
  public void requireRoom(String name, int needed, int pages) {
    if (needed > pages) {
      throw new GenerateException(
          "%s has %d tokens and up to %d are to follow, but there is memory for keys and values of %d; let fewer follow, shorten the prompt, or use a larger cache"
              .formatted(
                  name, request.prompt().size(), request.maxTokens(), pages * ModelRunner.PAGE));
    }
  }

  /** A job that goes on from this one, with a longer prompt and fewer tokens to generate. */
  public Job after(List<Integer> prompt, int maxTokens) {
    Request later =
        new Request(
            prompt,
            maxTokens,
            request.endTokens(),
            request.decoding(),
            request.sampler(),
            request.alternatives(),
            request.adapter());
    return new Job(later, heads, vocabSize, listener);
  }

  public Request request() {
    return request;
  }

  public int vocabSize() {
    return vocabSize;
  }

  public List<Head> heads() {
    return heads;
  }

  public RequestListener listener() {
    return listener;
  }

  public boolean ends(int id) {
    for (int end : endTokens) {
      if (end == id) {
        return true;
      }
    }
    return false;
  }

  /** {@link System#nanoTime} of the request. */
  public long submitted() {
    return submitted;
  }

  /** Positions whose keys and values it may need: all but that of the last token. */
  public int positions() {
    return request.prompt().size() + request.maxTokens() - 1;
  }

  @Override
  public void cancel() {
    cancelled = true;
  }

  public boolean cancelled() {
    return cancelled;
  }

  /** The result of a request that was cancelled before its turn: no tokens. */
  public Result withoutWork() {
    return new Result(
        List.of(),
        FinishReason.CANCELLED,
        new Usage(request.prompt().size(), 0, 0, 0),
        (System.nanoTime() - submitted) / 1e9,
        0,
        0);
  }
}
