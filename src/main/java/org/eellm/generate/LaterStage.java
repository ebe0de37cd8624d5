package org.eellm.generate;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.eellm.distributed.Mail;
import org.eellm.distributed.Mail.Letter;
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
  /** Rows go through all layers here as they come: what waits, waits in the mail. */
  private static final int MAX_PENDING = 1;

  private final Decoder model;
  private final World world;
  private final Mail mail;
  private final List<Job> jobs;
  private final BlockPass pass;
  private final PagePool pool;
  private final NextStage next;
  private final Map<Integer, StageSequence> sequences = new HashMap<>();
  private boolean open = true;

  /**
   * @param jobs all requests; their numbers are their places
   */
  LaterStage(Decoder model, World world, Mail mail, Limits limits, List<Job> jobs) {
    this.model = model;
    this.world = world;
    this.mail = mail;
    this.jobs = jobs;
    pass = new BlockPass(model, limits.vocabSize(), MAX_PENDING, PagePool.format(model));
    pool = new PagePool(PagePool.pages(limits.cacheTokens()), PagePool.format(model));
    next = new NextStage(mail, world.pp());
  }

  /** Works until the first stage has no more to do. */
  void run() {
    while (open) {
      byte[] letter = await();
      if (isEnd(letter)) {
        open = false;
      } else {
        RowsMessage message = withFurther(RowsMessage.decode(letter));
        message.finished().forEach(this::forget);
        advance(message);
      }
    }
    next.end();
  }

  /**
   * Lets further messages that are there already come along with one in which no token is asked
   * for, for a block of several rows takes little longer than one; until a token is asked for, or
   * there are as many rows as a step takes of prompts.
   */
  private RowsMessage withFurther(RowsMessage message) {
    RowsMessage all = message;
    // Ranks that share these layers have to take the same, whenever their mail arrives.
    boolean alone = world.tp().size() == 1;
    while (alone && open && !all.asks() && all.rows() < Batch.PROMPT_ROWS) {
      Optional<Letter> further = mail.poll();
      if (further.isEmpty()) {
        break;
      }
      byte[] letter = further.get().bytes();
      if (isEnd(letter)) {
        open = false;
      } else {
        all = all.and(RowsMessage.decode(letter));
      }
    }
    return all;
  }

  /** Waits for what comes from below. */
  private byte[] await() {
    List<Integer> below = List.of(world.pp().rank() - 1);
    while (true) {
      Optional<Letter> letter = mail.receive(below, world.timeout());
      if (letter.isPresent()) {
        return letter.get().bytes();
      }
    }
  }

  private static boolean isEnd(byte[] letter) {
    return letter.length == RowsMessage.NONE_FURTHER.length;
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
      List<Part> parts = message.parts().stream().flatMap(part -> arrive(part).stream()).toList();
      List<Part> above = parts.isEmpty() ? List.of() : pass.through(Block.of(parts));
      for (Part part : parts) {
        part.span()
            .sequence()
            .failure()
            .ifPresent(
                cause -> {
                  throw cause;
                });
      }
      next.send(message.finished(), above);
    }
  }

  private Optional<Part> arrive(PartMessage part) {
    StageSequence sequence = sequences.computeIfAbsent(part.number(), this::begin);
    List<Prediction> earlier = new ArrayList<>();
    for (Said said : part.said()) {
      HeadOutput told =
          new ToldOutput(model.allHeads().get(said.head()), said.best(), said.probability());
      earlier.add(new Prediction(told, 0, sequence.tokens(), earlier));
    }
    return sequence
        .arrive(part, earlier)
        .map(span -> new Part(span, rows(span.count(), part.hidden())));
  }

  private StageSequence begin(int number) {
    Job job = jobs.get(number);
    int[] pages = pool.take(PagePool.pages(job.positions()));
    return new StageSequence(
        number,
        job,
        new SequenceCache(pool, pages),
        PipelineGenerator.policy(job.request()),
        this::answer);
  }

  /** Tells the first stage of a token; where this stage is several ranks, one of them does. */
  private void answer(AnswerMessage answer) {
    if (Answers.isListener(world)) {
      mail.send(0, answer.encode());
    }
  }

  /** Rows from their bytes, [count, hidden]; of the scope that is open. */
  private Tensor rows(int count, byte[] bytes) {
    long hidden = model.architecture().model().hiddenSize();
    Tensor rows = Tensors.empty(model.scalarType(), model.device(), count, hidden);
    Tensors.bytes(rows).copyFrom(MemorySegment.ofArray(bytes));
    return rows;
  }

  @Override
  public void close() {
    sequences.values().forEach(Sequence::close);
    pool.close();
  }
}
