package org.eellm.decode.speculate;

import java.util.Optional;
import org.eellm.decode.precedent.Precedents;
import org.eellm.decode.token.Tokens;

/** Who drafts how many tokens of a sequence before the full model verifies them. */
public interface DraftPlan {
  /** Where no draft head drafts for a text. */
  int NO_HEAD = -1;

  /**
   * Starts a draft.
   *
   * @param text without drafts
   * @param unseen positions that a draft head has yet to see before it drafts, or {@link #NO_HEAD}
   * @return how many tokens the text itself drafts; if any, no exit is asked
   */
  int begin(Tokens text, int room, int unseen);

  /**
   * A token that the text itself drafts.
   *
   * @param drafted tokens of the draft so far, which have been added to the text
   */
  int lookUp(int drafted);

  /**
   * Whether a drafter is asked for the next token of the draft.
   *
   * @param exit index of the exit's head, or the draft head
   */
  boolean asks(int exit, int drafted);

  /**
   * Whether what the exit predicts belongs to the draft.
   *
   * @param margin how far its choice is ahead, from 0 to 1, as {@link
   *     org.eellm.decode.sample.Sampler.Choice#margin}
   */
  boolean keepsDrafting(double margin);

  /** Takes how many tokens of a draft, which may be empty, the full model has accepted. */
  void onVerified(int drafted, int accepted);

  /**
   * Takes what the full model holds most probable behind a text, which may end with drafts that do
   * not hold.
   */
  default void onPredicted(Tokens text, int best) {}

  /**
   * Takes a text that is over.
   *
   * @param end of what is certain: tokens behind are drafts
   */
  default void onEnd(Tokens text, int end) {}

  /** What followed a text's last tokens where they came before, as far as it is likely enough. */
  final class OfText implements DraftPlan {
    private final PrecedentStore store;
    private final DraftSource source;
    private final boolean shared;
    private final DraftLength length;
    private final JudgedRows predictions = new JudgedRows();
    private Optional<Precedents> precedents = Optional.empty();

    /**
     * @param shared whether it takes from other requests, and leaves something for them
     */
    OfText(PrecedentStore store, DraftSource source, boolean shared, DraftLength length) {
      this.store = store;
      this.source = source;
      this.shared = shared;
      this.length = length;
    }

    /** What is expected behind a text, none of which may be a draft. */
    Precedents follow(Tokens text) {
      if (precedents.isEmpty()) {
        precedents = Optional.of(store.precedents(text, source, shared));
      }
      precedents.get().follow();
      predictions.learn(store); // not before: what is known already would seem to be foreseen
      return precedents.get();
    }

    @Override
    public int begin(Tokens text, int room, int unseen) {
      Precedents known = follow(text);
      int most = Math.min(room, length.most());
      int count = 0;
      while (count < most && known.expectsFurther() && length.keepsDrafting(known.chance())) {
        count++;
      }
      return count;
    }

    @Override
    public int lookUp(int drafted) {
      return precedents.orElseThrow().expected(drafted);
    }

    @Override
    public boolean asks(int exit, int drafted) {
      return false;
    }

    @Override
    public boolean keepsDrafting(double margin) {
      return false;
    }

    @Override
    public void onVerified(int drafted, int accepted) {}

    @Override
    public void onPredicted(Tokens text, int best) {
      if (shared) {
        predictions.add(text, best);
      }
    }

    @Override
    public void onEnd(Tokens text, int end) {
      if (shared) {
        store.add(text, end);
      }
    }
  }

  /** Always the same drafter with layers. */
  record Fixed(DraftLength length) implements DraftPlan {
    @Override
    public int begin(Tokens text, int room, int unseen) {
      return 0;
    }

    @Override
    public int lookUp(int drafted) {
      throw new IllegalStateException("the text drafts nothing");
    }

    @Override
    public boolean asks(int exit, int drafted) {
      return drafted < length.most();
    }

    @Override
    public boolean keepsDrafting(double margin) {
      return length.keepsDrafting(margin);
    }

    @Override
    public void onVerified(int drafted, int accepted) {}
  }
}
