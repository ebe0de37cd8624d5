package org.eellm.decode.precedent;

/**
 * A text's own words: what followed its last tokens where they came before (prompt lookup, LLMA,
 * arXiv 2304.04487). Of places that match, the one with most matching tokens counts, and of several
 * the newest.
 */
public final class PromptLookup extends Precedent {
  /** Places that are compared; a text of one pair alone would have as many as it has tokens. */
  private static final int PLACES = 16;

  private static final int GOLDEN = 0x9E3779B9;

  private final int[] newest; // by a pair's hash: the position after it, 0 for none
  private final int[] older; // by position: the one before with the same hash
  private int source; // position of the token that is expected next
  private int matchLength; // tokens before it that are the text's last; 0 where nothing matches

  public PromptLookup(Outlook outlook, double[] typical) {
    super(outlook, typical);
    int capacity = outlook.capacity();
    newest = new int[2 * Integer.highestOneBit(capacity)];
    older = new int[capacity + 1];
  }

  @Override
  void follow(boolean holds) {
    source++;
    matchLength = holds ? matchLength + 1 : 0;
    int known = outlook.known();
    if (known > 1) {
      int pair = hash(outlook.at(known - 2), outlook.at(known - 1));
      older[known] = newest[pair];
      newest[pair] = known;
      if (matchLength == 0) {
        search();
      }
    }
  }

  private int hash(int first, int second) {
    int mixed = (first * GOLDEN ^ second) * GOLDEN;
    return mixed >>> Integer.numberOfLeadingZeros(newest.length - 1);
  }

  private void search() {
    int before = older[outlook.known()];
    for (int tried = 0; before > 0 && tried < PLACES; tried++) {
      int length = matchLengthAt(before);
      if (length > 1 && length > matchLength) { // two of other pairs may have one hash
        matchLength = length;
        source = before;
      }
      before = older[before];
    }
  }

  private int matchLengthAt(int position) {
    int length = 0;
    while (length < Math.min(position, MAX_MATCH)
        && outlook.at(position - 1 - length) == outlook.at(outlook.known() - 1 - length)) {
      length++;
    }
    return length;
  }

  @Override
  int next() {
    return matchLength == 0 ? NONE : outlook.at(source + outlook.ahead());
  }

  @Override
  int kind() {
    return ofLength(matchLength + outlook.ahead());
  }
}
