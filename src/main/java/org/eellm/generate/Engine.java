package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import java.util.SortedSet;
import java.util.TreeSet;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.generate.Block.Part;
import org.eellm.model.Branch;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.eellm.model.Rows;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Gives sequences their next token, all in one block: early exits with exact keys and values.
 *
 * <p>The taps of the heads in use cut the trunk into segments. A block of rows goes through a
 * segment and meets the heads that tap the stream there. A sequence whose token leaves at one of
 * them drops out of the block, and its rows wait at that tap; a sequence that goes on takes along
 * what waits there, in front of its rows. So a position passes every segment once, with all before
 * it, and a token that needs the upper layers finds their keys and values complete.
 *
 * <p>What a token is does not depend on what waits where: neither on the bound on waiting rows nor
 * on the other sequences of the batch.
 */
final class Engine {
  /** Rows that go through a segment at once; bounds the memory that long prompts take. */
  private static final int MAX_ROWS = 256;

  private final Decoder model;
  private final int vocabSize;
  private final int maxPending;
  private final ScalarType cacheFormat;

  /**
   * @param vocabSize ids that may be generated: those below
   * @param maxPending a sequence with as many rows waiting at a tap goes on, though its token has
   *     left
   */
  Engine(Decoder model, int vocabSize, int maxPending) {
    this.model = model;
    this.vocabSize = vocabSize;
    this.maxPending = maxPending;
    try (Scope _ = Scope.open()) {
      // libtorch's attention in bfloat16 is many times slower than in float32 on a CPU.
      cacheFormat = model.device().is_cpu() ? ScalarType.Float : model.scalarType();
    }
  }

  /**
   * A sequence of this engine's, yet without a token; the caller closes it.
   *
   * @param index of its request
   * @param heads those its policy asks, in order of depth
   */
  Sequence start(int index, Request request, List<Head> heads) {
    return new Sequence(index, request, heads, cacheFormat);
  }

  /** Gives every sequence a token. */
  void step(List<Sequence> batch, TokenListener listener) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      Block block = embed(batch);
      int below = 0;
      for (int tap : taps(batch)) {
        run(model.trunk().subList(below, tap), block);
        for (Head head : model.heads()) {
          if (head.tap() == tap) {
            ask(head, block, listener);
          }
        }
        List<Part> above = goOn(tap, block);
        if (above.isEmpty()) {
          return;
        }
        block = Block.of(above);
        below = tap;
      }
    }
  }

  private static SortedSet<Integer> taps(List<Sequence> batch) {
    SortedSet<Integer> taps = new TreeSet<>();
    batch.forEach(sequence -> taps.addAll(sequence.taps()));
    return taps;
  }

  private Block embed(List<Sequence> batch) {
    List<Span> spans = batch.stream().map(Sequence::next).toList();
    long[] positions = Block.positions(spans);
    long[] ids = new long[positions.length];
    int row = 0;
    for (Span span : spans) {
      for (int position = span.first(); position < span.end(); position++) {
        ids[row++] = span.sequence().tokens().get(position);
      }
    }
    return new Block(spans, model.embed(onDevice(ids), onDevice(positions)));
  }

  private Tensor onDevice(long[] values) {
    return Tensors.ofLongs(values, model.device(), values.length);
  }

  /** Adds the branches' outputs to the block's rows, in place. */
  private void run(List<Branch> branches, Block block) {
    if (branches.isEmpty()) {
      return;
    }
    long row = 0;
    for (List<Span> spans : Span.chunks(block.spans(), MAX_ROWS)) {
      try (Scope _ = Scope.open()) {
        long[] positions = Block.positions(spans);
        Rows rows = model.rows(onDevice(positions));
        BlockAttention attention = new BlockAttention(spans, cacheFormat, model);
        Tensor x = block.x().narrow(0, row, rows.count());
        for (Branch branch : branches) {
          try (Scope _ = Scope.open()) {
            x.add_(branch.generate(x, rows, attention));
          }
        }
        row += rows.count();
      }
    }
  }

  /** Lets a head speak of the sequences that ask it. */
  private void ask(Head head, Block block, TokenListener listener) {
    List<Part> asking = new ArrayList<>();
    for (Part part : block.parts()) {
      Sequence sequence = part.span().sequence();
      if (!sequence.uses(head)) {
        continue;
      }
      if (!sequence.decided()) {
        asking.add(head.hasAttention() ? part.behind(sequence.unseen(head)) : part.last());
      } else if (head.hasAttention() && !sequence.finished()) {
        sequence.unseen(head).add(part.rows());
      }
    }
    if (asking.isEmpty()) {
      return;
    }
    Block asked = Block.of(asking);
    if (!head.branches().isEmpty()) {
      asked = new Block(asked.spans(), asked.x().clone()); // the trunk goes on with its own rows
      run(head.branches(), asked);
    }
    Tensor logits = // [sequences, vocabulary]
        head.logits(asked.lastRows()).narrow(1, 0, vocabSize).to(ScalarType.Float);
    HeadOutput output = new HeadOutput(head, logits);
    for (int i = 0; i < asking.size(); i++) {
      Sequence sequence = asking.get(i).span().sequence();
      decide(sequence, new Prediction(output, i, sequence.tokens(), sequence.said()), listener);
    }
  }

  private void decide(Sequence sequence, Prediction said, TokenListener listener) {
    if (Double.isNaN(said.maxProbability())) {
      throw new GenerateException(
          "%s: logits at position %d are not numbers; the model is damaged or its training diverged"
              .formatted(said.head().name(), said.position()));
    }
    if (sequence.isLast(said.head()) || sequence.request().policy().leaves(said)) {
      sequence.append(
          new GeneratedToken(
              sequence.request().sampler().next(said),
              said.head().name(),
              said.head().layer(),
              said.maxProbability()),
          listener);
    } else {
      sequence.said().add(said);
    }
  }

  /** Sorts a block's sequences into those that stop at a tap and those that go on. */
  private List<Part> goOn(int tap, Block block) {
    List<Part> above = new ArrayList<>();
    for (Part part : block.parts()) {
      Sequence sequence = part.span().sequence();
      if (sequence.finished() || tap == sequence.taps().last()) {
        continue;
      }
      if (!sequence.taps().contains(tap)) {
        above.add(part);
        continue;
      }
      PendingRows pending = sequence.pending(tap);
      if (sequence.decided() && pending.count() + part.span().count() < maxPending) {
        pending.add(part.rows());
      } else {
        above.add(part.behind(pending));
      }
    }
    return above;
  }
}
