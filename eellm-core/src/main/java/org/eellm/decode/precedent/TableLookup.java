package org.eellm.decode.precedent;

import java.util.Arrays;
import org.eellm.checkpoint.DraftTable;

/** What mostly followed the last two tokens in a text that was counted. */
public final class TableLookup extends Precedent {
  /** Kinds, by how often the token followed where it was counted. */
  private static final int KINDS = 4;

  /** The shares above which another kind begins, in per cent. */
  private static final int FIRST_SHARE = 40;

  private static final int SHARES = 20;

  private final DraftTable table;
  private int place;

  public TableLookup(Outlook outlook, double[] typical, DraftTable table) {
    super(outlook, typical);
    this.table = table;
  }

  /** Shares assumed before the first text, by kind. */
  public static double[] typical() {
    double[] shares = new double[KINDS];
    Arrays.setAll(shares, kind -> (FIRST_SHARE + SHARES * (kind - 0.5)) / 100);
    return shares;
  }

  @Override
  void follow(boolean holds) {}

  @Override
  int next() {
    place = outlook.has(2) ? table.find(outlook.last(2), outlook.last(1)) : NONE;
    return place < 0 ? NONE : table.follower(place);
  }

  @Override
  int kind() {
    int above = table.share(place) - FIRST_SHARE;
    return above < 0 ? 0 : Math.min(KINDS - 1, 1 + above / SHARES);
  }
}
