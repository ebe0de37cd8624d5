package org.eellm.generate;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.eellm.distributed.Inbox;
import org.eellm.distributed.Outbox;
import org.eellm.distributed.World;
import org.eellm.generate.Block.Part;
import org.eellm.generate.RowsMessage.PartMessage;
import org.eellm.generate.RowsMessage.Said;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * A stage of a pipeline that is not the first: takes what comes from below through its layers, in
 * order, tells the first stage of tokens that leave here, and hands on what goes further.
 */
final class LaterStage implements AutoCloseable {
  private final Decoder model;
  private final List<Job> jobs;
  private final BlockPass pass;
  private final PagePool pool;
  private final Inbox below;
  private final Optional<Outbox> first; // of the one rank of this stage that tells it
  private final NextStage next;
  private final Map<Integer, StageSequence> sequences = new HashMap<>();

  /**
   * @param jobs all requests; their numbers are their places
   */
  LaterStage(Decoder model, World world, Limits limits, List<Job> jobs) {
    this.model = model;
    this.jobs = jobs;
    pass = new BlockPass(model, limits.vocabSize(), limits.maxPending(), PagePool.format(model));
    pool = new PagePool(PagePool.pages(limits.cacheTokens()), PagePool.format(model));
    below = new Inbox(world.pp(), world.pp().rank() - 1, NextStage.messageSize(model));
    first =
        Answers.isListener(world)
            ? Optional.of(new Outbox(world.pp(), 0, Answers.SIZE))
            : Optional.empty();
    next = new NextStage(model, world);
  }

  /** Works until the first stage has no more to do. */
  void run() {
    for (var bytes = below.receive(); bytes.isPresent(); bytes = below.receive()) {
      RowsMessage message = RowsMessage.decode(bytes.get());
      message.finished().forEach(this::forget);
      if (message.parts().isEmpty()) {
        next.send(message.finished(), List.of());
        first.ifPresent(box -> box.send(new byte[0]));
      } else {
        advance(message);
      }
      next.keepAlive();
    }
    next.end();
    first.ifPresent(Outbox::end);
  }

  private void forget(int number) {
    StageSequence sequence = sequences.remove(number);
    if (sequence != null) { // all its tokens may have left below
      sequence.close();
    }
  }

  private void advance(RowsMessage message) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      List<Span> spans = message.parts().stream().map(this::arrive).toList();
      List<Part> above = pass.through(new Block(spans, hidden(message, spans)));
      for (Span span : spans) {
        span.sequence()
            .failure()
            .ifPresent(
                cause -> {
                  throw cause;
                });
      }
      next.send(message.finished(), above);
    }
  }

  private Span arrive(PartMessage part) {
    StageSequence sequence = sequences.computeIfAbsent(part.number(), this::begin);
    List<Prediction> earlier = new ArrayList<>();
    for (Said said : part.said()) {
      HeadOutput told =
          new ToldOutput(model.allHeads().get(said.head()), said.best(), said.probability());
      earlier.add(new Prediction(told, 0, sequence.tokens(), earlier));
    }
    return sequence.arrive(part.first(), part.ids(), part.asks(), earlier);
  }

  private StageSequence begin(int number) {
    Job job = jobs.get(number);
    int[] pages = pool.take(PagePool.pages(job.positions()));
    return new StageSequence(
        number,
        job,
        new SequenceCache(pool, pages),
        PipelineGenerator.policy(job.request()),
        (sequence, token) ->
            first.ifPresent(box -> box.send(new AnswerMessage(sequence.number(), token).encode())));
  }

  /** The rows of a message, [n, hidden]; of the scope that is open. */
  private Tensor hidden(RowsMessage message, List<Span> spans) {
    long n = spans.stream().mapToInt(Span::count).sum();
    Tensor rows =
        Tensors.empty(
            model.scalarType(), model.device(), n, model.architecture().model().hiddenSize());
    Tensors.bytes(rows).copyFrom(MemorySegment.ofArray(message.hidden()));
    return rows;
  }

  @Override
  public void close() {
    sequences.values().forEach(Sequence::close);
    pool.close();
    next.close();
    first.ifPresent(Outbox::close);
    below.close();
  }
}
