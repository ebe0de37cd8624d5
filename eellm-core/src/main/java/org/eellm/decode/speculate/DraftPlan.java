package org.eellm.decode.speculate;

import org.eellm.decode.token.Tokens;

/** Who drafts how many tokens of a sequence before the full model verifies them. */
public interface DraftPlan {
  /** Where no draft head drafts for a text. */
  int NO_HEAD = -1;

  /**
   * Starts a draft.
   *
   * @param text without drafts
   * @param room most tokens of the draft
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
   * @param drafted tokens of the draft so far
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

  /** Always the same exit. */
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
