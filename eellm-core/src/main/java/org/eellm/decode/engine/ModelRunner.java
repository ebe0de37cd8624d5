package org.eellm.decode.engine;

import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.kernel.PageLayout;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/**
 * Takes blocks of rows through a model, or the part of it that is on this rank. Hidden states lie
 * in numbered slots and stay there between passes: a row that waits at an exit is a slot that
 * somebody remembers. Keys and values lie in numbered pages of {@link #PAGE} positions; a page is
 * one number for all attentions of the model, and who uses which is the caller's to say.
 *
 * <p>For one thread at a time.
 */
public interface ModelRunner extends AutoCloseable {
  /** Positions of a page of keys and values. */
  int PAGE = PageLayout.POSITIONS;

  /** The model, whose parameters must not change meanwhile. */
  DecodingModel model();

  /** The number of trunk branches before those that rows pass here. */
  default int firstBranch() {
    return model().firstBranch();
  }

  /** The number of trunk branches up to the last one that rows pass here. */
  default int endBranch() {
    return model().endBranch();
  }

  /** The heads that can be asked, in order of depth. */
  default List<Head> heads() {
    return model().headsHere();
  }

  /** Pipeline stages that rows pass; as many steps can be under way at once. */
  default int stages() {
    return 1;
  }

  /** Whether a head is on another rank, which answers some time after it has been asked. */
  default boolean isRemote(Head head) {
    return false;
  }

  /** Lets other ranks know that this one is alive; to be called now and then while it is idle. */
  default void keepAlive() {}

  int pages();

  /** A free slot for a row's hidden state. */
  int allocateSlot();

  void release(int slot);

  void copy(int from, int to);

  /** Bytes of a hidden state as other ranks are sent it. */
  int hiddenBytes();

  /** Reads a hidden state to send it. */
  void read(int slot, byte[] to, int at);

  /** Writes a hidden state that another rank has sent. */
  void write(int slot, byte[] from, int at);

  void copyPage(int from, int to);

  /** Writes the hidden states before the first layer. */
  void embed(ForwardBatch rows, int[] ids);

  /**
   * Takes rows through branches of the trunk, by their numbers in the whole model: attention and
   * MLP of layer 1, of layer 2, and so on. A sequence's earlier positions have passed them before.
   *
   * @param from the first branch
   * @param to the branch after the last
   */
  void run(int from, int to, ForwardBatch rows);

  /**
   * Writes the keys and values of rows at branches that the rows do not pass, as if their hidden
   * states stayed what they are (CALM, arXiv 2207.07061, section 3.3); only of branches with
   * attention.
   *
   * @param from the first branch, by its number in the whole model
   * @param to the branch after the last
   */
  void propagate(int from, int to, ForwardBatch rows);

  /**
   * Predicts with one of this runner's heads. The hidden states stay as they are.
   *
   * @param rows all that the head has not seen so far, where it has attention; else any
   * @param asked indices of the rows to predict for, ascending
   * @param count how many of {@code asked} count
   * @return an output whose row i is {@code asked[i]}
   */
  HeadOutput predict(Head head, ForwardBatch rows, int[] asked, int count);

  /**
   * Drafts with an exit or the draft head: {@link #predict} for the ids of {@link
   * Vocabulary#draftIds} alone, where there are such and one rank has all of the output matrix.
   * Valid until the exit is asked for drafts again.
   */
  HeadOutput draft(Head exit, ForwardBatch rows, int[] asked, int count);

  /** The draft head's layer, where the model has one that this runner takes rows through. */
  default Optional<DraftLayer> draftLayer() {
    return Optional.empty();
  }

  interface DraftLayer {
    /**
     * Takes rows through: of a token's position, with the final hidden state of the position before
     * it, or the draft head's own. Of each sequence's last, its own takes that one's place, for
     * {@link #draft} and the next position; others leave keys and values alone, which in one layer
     * depend on nothing before it.
     *
     * @param rows positions of tokens; a sequence's earlier ones have passed before
     */
    void run(ForwardBatch rows, int[] ids);
  }

  /**
   * The kind of output that a head is asked for.
   *
   * @param drafts whether for drafts, see {@link #draft}
   * @param bestOnly whether nothing of its output is looked at but the most probable ids, their
   *     probabilities and how far the next ones are behind, so that another rank need not send all
   *     logits
   */
  record HeadQuery(boolean drafts, boolean bestOnly) {
    private static final HeadQuery TOKENS = new HeadQuery(false, false);
    private static final HeadQuery BEST_TOKENS = new HeadQuery(false, true);
    private static final HeadQuery DRAFTS = new HeadQuery(true, false);
    private static final HeadQuery BEST_DRAFTS = new HeadQuery(true, true);

    /** The one that is so; steps ask many. */
    public static HeadQuery of(boolean drafts, boolean bestOnly) {
      if (drafts) {
        return bestOnly ? BEST_DRAFTS : DRAFTS;
      }
      return bestOnly ? BEST_TOKENS : TOKENS;
    }
  }

  /** {@link #predict} or {@link #draft}, of which perhaps not all is going to be looked at. */
  default HeadOutput ask(Head head, HeadQuery query, ForwardBatch rows, int[] asked, int count) {
    return query.drafts() ? draft(head, rows, asked, count) : predict(head, rows, asked, count);
  }

  /** Where the time of its passes goes; absent where libtorch computes. */
  default Optional<ForwardProfiler> profiler() {
    return Optional.empty();
  }

  /**
   * The rate at which its threads read its packed weights, in bytes a second, measured now; absent
   * where libtorch computes.
   *
   * @param seconds how long to measure
   */
  default OptionalDouble weightReadRate(double seconds) {
    return OptionalDouble.empty();
  }

  @Override
  void close();
}
