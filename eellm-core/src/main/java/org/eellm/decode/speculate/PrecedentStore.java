package org.eellm.decode.speculate;

import java.util.ArrayList;
import java.util.List;
import org.eellm.checkpoint.DraftTable;
import org.eellm.decode.precedent.Outlook;
import org.eellm.decode.precedent.Precedent;
import org.eellm.decode.precedent.Precedents;
import org.eellm.decode.precedent.PromptLookup;
import org.eellm.decode.precedent.RecentReplies;
import org.eellm.decode.precedent.RecycledLookup;
import org.eellm.decode.precedent.RecycledTable;
import org.eellm.decode.precedent.ReplyLookup;
import org.eellm.decode.precedent.TableLookup;
import org.eellm.decode.token.Tokens;

/**
 * What an engine's texts draft from beside themselves: a model's table, recent replies, and what
 * the model held most probable.
 */
final class PrecedentStore {
  private final DraftTable table;
  private final RecentReplies replies = new RecentReplies(RecentReplies.MOST);
  private final RecycledTable recycled = new RecycledTable();
  private final double[] typicalOfPrompts = Precedent.typicalByLength();
  private final double[] typicalOfReplies = Precedent.typicalByLength();
  private final double[] typicalOfTable = TableLookup.typical();
  private final double[] typicalOfRecycled = RecycledLookup.typical();

  /**
   * @param table of the model's drafts
   */
  PrecedentStore(DraftTable table) {
    this.table = table;
  }

  /**
   * All of a source that may tell what follows a text.
   *
   * @param shared whether other requests' texts may
   */
  Precedents precedents(Tokens tokens, DraftSource source, boolean shared) {
    Outlook text = new Outlook(tokens, DraftLength.MAX_TOKENS);
    List<Precedent> all = new ArrayList<>();
    if (source.includes(DraftSource.PROMPT)) {
      all.add(new PromptLookup(text, typicalOfPrompts));
    }
    if (source.includes(DraftSource.TABLE) && table.size() > 0) {
      all.add(new TableLookup(text, typicalOfTable, table));
    }
    if (source.includes(DraftSource.REPLIES) && shared) {
      all.add(new ReplyLookup(text, typicalOfReplies, replies));
    }
    if (source.includes(DraftSource.RECYCLED) && shared) {
      all.add(new RecycledLookup(text, typicalOfRecycled, recycled));
    }
    return new Precedents(text, all);
  }

  /** Keeps a reply, which ends before {@code end}. */
  void add(Tokens text, int end) {
    replies.add(text, end);
  }

  /** Takes what the full model holds most probable after two tokens. */
  void learn(int first, int second, int best) {
    recycled.learn(first, second, best);
  }
}
