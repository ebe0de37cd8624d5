package org.eellm.decode.precedent;

/** What the model held most probable after the last two tokens, in whatever text they were. */
public final class RecycledLookup extends Precedent {
  private final RecycledTable table;
  private int place;

  public RecycledLookup(Outlook outlook, double[] typical, RecycledTable table) {
    super(outlook, typical);
    this.table = table;
  }

  /** Shares assumed before the first text, by kind: by how sure the table is. */
  public static double[] typical() {
    return new double[] {0.1, 0.2, 0.3, 0.4};
  }

  @Override
  void follow(boolean holds) {}

  @Override
  int next() {
    place =
        outlook.hasPrompt() && outlook.has(2) ? table.find(outlook.last(2), outlook.last(1)) : NONE;
    return place == NONE ? NONE : table.follower(place);
  }

  @Override
  int kind() {
    return Integer.SIZE - Integer.numberOfLeadingZeros(table.sureness(place)); // 0, 1, 2-3, 4-7
  }
}
