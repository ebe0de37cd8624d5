package org.eellm.decode.precedent;

/** What followed the text's last tokens in other requests' replies. */
public final class ReplyLookup extends Precedent {
  private final RecentReplies replies;
  private int source; // place of the token that is expected next
  private int matchLength; // tokens before it that are the text's last; 0 where nothing matches

  public ReplyLookup(Outlook outlook, double[] typical, RecentReplies replies) {
    super(outlook, typical);
    this.replies = replies;
  }

  @Override
  void follow(boolean holds) {
    source++;
    matchLength = holds ? matchLength + 1 : 0;
    if (outlook.hasPrompt() && (matchLength == 0 || replies.at(source) == NONE)) {
      source = replies.find(outlook);
      matchLength = source == NONE ? 0 : replies.matchLength(outlook, source);
    }
  }

  @Override
  int next() {
    return matchLength == 0 ? NONE : replies.at(source + outlook.ahead());
  }

  @Override
  int kind() {
    return ofLength(matchLength + outlook.ahead());
  }
}
