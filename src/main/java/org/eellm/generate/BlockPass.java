package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.generate.Block.Part;
import org.eellm.model.Branch;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.eellm.model.HeadLayers;
import org.eellm.model.Rows;
import org.eellm.tensor.Carried;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Takes the next rows of many sequences through the model, or the part of it that is here, all in
 * one block: early exits with exact keys and values.
 *
 * <p>The taps of the heads in use cut the trunk into segments. A block of rows goes through a
 * segment and meets the heads that tap the stream there. A sequence whose token leaves at one of
 * them drops out of the block, and its rows wait at that tap; but where the layers above are
 * elsewhere they go on, for there they delay nobody here. A sequence that goes on takes along what
 * waits there, in front of its rows. So a position passes every segment once, with all before it,
 * and a token that needs the upper layers finds their keys and values complete.
 *
 * <p>What a token is does not depend on what waits where: neither on the bound on waiting rows nor
 * on the other sequences of the batch.
 */
final class BlockPass {
  /** Rows that go through a segment at once; bounds the memory that long blocks take. */
  private static final int MAX_ROWS = 256;

  /** Rows of a block whose {@link Places} are kept for the next segment; bounds their masks. */
  private static final int MAX_KEPT_ROWS = 16;

  private final Decoder model;
  private final int first; // trunk branches below those here
  private final int vocabSize;
  private final int maxPending;
  private final ScalarType cacheFormat;

  /**
   * @param model whole, or one stage of a pipeline
   * @param vocabSize ids that may be generated: those below
   * @param maxPending a sequence with as many rows waiting at a tap goes on, though its token has
   *     left
   * @param cacheFormat number format of keys and values
   */
  BlockPass(Decoder model, int vocabSize, int maxPending, ScalarType cacheFormat) {
    this.model = model;
    this.first = model.stages().getFirst().firstPosition();
    this.vocabSize = vocabSize;
    this.maxPending = maxPending;
    this.cacheFormat = cacheFormat;
  }

  /**
   * Takes rows of a whole model as far up as their sequences need. What a sequence's policy,
   * sampler or listener throws is that sequence's failure.
   *
   * @param rows of different sequences, at least one
   */
  void run(List<Span> rows) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      through(embed(rows));
    }
  }

  /**
   * Takes a block through the layers here, as far up as its sequences need.
   *
   * @param block what comes from below
   * @return what goes on to layers that are elsewhere
   */
  List<Part> through(Block block) {
    Block here = block;
    Optional<Places> known = Optional.empty();
    int below = first;
    for (int tap : taps(block.spans())) {
      List<Span> spans = here.spans();
      Optional<Places> places = known.filter(last -> last.spans().equals(spans));
      List<Branch> branches = model.trunk().subList(below - first, tap - first);
      if (!branches.isEmpty() && places.isEmpty() && Span.rows(spans) <= MAX_KEPT_ROWS) {
        places = Optional.of(places(spans));
      }
      known = places;
      here = run(branches, here, places);
      for (HeadLayers head : model.heads()) {
        if (head.tap() == tap) {
          ask(head, here);
        }
      }
      List<Part> above = goOn(tap, here);
      if (above.isEmpty() || tap == end()) {
        return above;
      }
      here = Block.of(above);
      below = tap;
    }
    return List.of();
  }

  /** Number of trunk branches up to the last one here. */
  private int end() {
    return first + model.trunk().size();
  }

  /** Where sequences meet heads here, and the end of the layers here where some go further. */
  private SortedSet<Integer> taps(List<Span> rows) {
    SortedSet<Integer> taps = new TreeSet<>();
    for (Span span : rows) {
      SortedSet<Integer> all = span.sequence().taps();
      taps.addAll(all.subSet(first + 1, end() + 1));
      if (all.last() > end()) {
        taps.add(end());
      }
    }
    return taps;
  }

  /** The newest ids of sequences as a block. */
  Block embed(List<Span> spans) {
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

  /**
   * What the branches need to know of rows. Segment after segment the same block goes through has
   * the same.
   */
  private record Places(List<Span> spans, Rows rows, BlockAttention attention) {}

  private Places places(List<Span> spans) {
    return new Places(
        spans,
        model.rows(onDevice(Block.positions(spans))),
        new BlockAttention(spans, cacheFormat, model));
  }

  /**
   * The block's rows behind branches.
   *
   * @param known the whole block's places, if they have been made
   */
  private Block run(List<Branch> branches, Block block, Optional<Places> known) {
    if (branches.isEmpty()) {
      return block;
    }
    List<Tensor> all = new ArrayList<>();
    long row = 0;
    for (List<Span> spans : Span.chunks(block.spans(), MAX_ROWS)) {
      int count = Span.rows(spans);
      try (Scope scope = Scope.open();
          Carried x = new Carried(block.x().narrow(0, row, count))) {
        Places places = known.orElseGet(() -> places(spans));
        for (Branch branch : branches) {
          try (Scope _ = Scope.open()) {
            Tensor delta = branch.generate(x.get(), places.rows(), places.attention());
            x.set(branch.path().add(x.get(), delta));
          }
        }
        all.add(scope.pass(x.get()));
        row += count;
      }
    }
    return new Block(block.spans(), Tensors.stack(all));
  }

  /** Lets a head speak of the sequences that ask it. */
  private void ask(HeadLayers layers, Block block) {
    Head head = layers.head();
    List<Part> asking = new ArrayList<>();
    List<Integer> counts = new ArrayList<>(); // rows that each asks about
    for (Part part : block.parts()) {
      Sequence sequence = part.span().sequence();
      if (!sequence.uses(head) || sequence.finished()) {
        continue;
      }
      int count = sequence.rowsFor(head);
      if (count > 0) {
        counts.add(count);
        asking.add(head.hasAttention() ? seen(head, part) : part.last(count));
      } else if (head.hasAttention()) {
        sequence.unseen(head).add(part);
      }
    }
    if (asking.isEmpty()) {
      return;
    }
    Block asked = run(layers.branches(), Block.of(asking), Optional.empty());
    Tensor logits = // [sum of counts, vocabulary]
        layers.logits(asked.lastRows(counts)).narrow(1, 0, vocabSize).to(ScalarType.Float);
    HeadOutput output = new HeadLogits(head, logits);
    int row = 0;
    for (int i = 0; i < counts.size(); i++) {
      tell(asking.get(i).span(), output, row, counts.get(i));
      row += counts.get(i);
    }
  }

  /** The rows that a head with attention needs to see, which it has seen then. */
  private static Part seen(Head head, Part part) {
    Sequence sequence = part.span().sequence();
    sequence.seen(head, part.span().end());
    return part.behind(sequence.unseen(head));
  }

  /**
   * Tells a sequence what a head says of its last rows.
   *
   * @param row the first of them in the output
   */
  private static void tell(Span span, HeadOutput output, int row, int count) {
    Sequence sequence = span.sequence();
    try {
      List<Prediction> said = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        Tokens before = sequence.tokens().first(span.end() - count + i + 1);
        Prediction prediction = new Prediction(output, row + i, before, sequence.said());
        requireNumbers(prediction);
        said.add(prediction);
      }
      sequence.hear(said);
    } catch (RuntimeException e) {
      sequence.fail(e);
    }
  }

  private static void requireNumbers(Prediction said) {
    if (Double.isNaN(said.maxProbability())) {
      throw new GenerateException(
          "%s: logits at position %d are not numbers; the model is damaged or its training diverged"
              .formatted(said.head().name(), said.position()));
    }
  }

  /** Sorts a block's sequences into those that stop at a tap and those that go on. */
  private List<Part> goOn(int tap, Block block) {
    List<Part> above = new ArrayList<>();
    for (Part part : block.parts()) {
      Sequence sequence = part.span().sequence();
      if (tap == model.allHeads().getLast().tap()) {
        sequence.completed(part.span().end());
      } else if (!sequence.finished() && tap != sequence.taps().last()) {
        if (sequence.taps().contains(tap) && tap != end()) { // elsewhere they delay nobody here
          sequence.goOn(tap, part, maxPending).ifPresent(above::add);
        } else {
          above.add(part);
        }
      }
    }
    return above;
  }
}
