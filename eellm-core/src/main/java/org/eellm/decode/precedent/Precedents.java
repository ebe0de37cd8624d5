package org.eellm.decode.precedent;

import java.util.List;

/**
 * Drafts that cost no layer: what followed the text's last tokens where they came before, in the
 * text itself or elsewhere. Of all that expect something, the one whose token is likeliest to come
 * drafts.
 */
public final class Precedents {
  private final Outlook outlook;
  private final List<Precedent> all;
  private Precedent best;
  private double chance;

  /**
   * @param all at least one, of the same outlook
   */
  public Precedents(Outlook outlook, List<Precedent> all) {
    this.outlook = outlook;
    this.all = all;
    best = all.getFirst();
  }

  /** Takes what the text has got since; none of it may be a draft. */
  public void follow() {
    outlook.forget();
    while (outlook.isBehind()) {
      int id = outlook.advance();
      for (int i = 0; i < all.size(); i++) {
        all.get(i).take(id);
      }
    }
  }

  /** Expects one more token after the text and those expected; false if nothing is known of it. */
  public boolean expectsFurther() {
    if (outlook.ahead() == 0) {
      choose();
    }
    int id = best.next();
    if (id == Precedent.NONE) {
      return false;
    }
    chance = best.chance();
    outlook.expect(id);
    return true;
  }

  private void choose() {
    double most = -1;
    for (int i = 0; i < all.size(); i++) {
      Precedent each = all.get(i);
      if (each.next() != Precedent.NONE && each.chance() > most) {
        most = each.chance();
        best = each;
      }
    }
  }

  /** The probability that the newest of the expected tokens comes, given that the others did. */
  public double chance() {
    return chance;
  }

  /** The token that is expected after the text and {@code ahead} of those expected. */
  public int expected(int ahead) {
    return outlook.at(outlook.known() + ahead);
  }
}
