package org.eellm.decode.head;

import java.util.Arrays;

/**
 * Scores ids beyond a short list, one by one. A text's own names are seldom on a list of frequent
 * ids, and are what comes next all the more often.
 *
 * @param listed whether an id is on the list, by id
 */
public record UnlistedIds(boolean[] listed, Scorer scorer) implements DraftOutput.Extension {
  @FunctionalInterface
  public interface Scorer {
    /** The logits of ids, in a row of the head's output. */
    float[] logits(int row, int[] ids);
  }

  /** Whether ids are on a vocabulary's list, by id. */
  public static boolean[] listed(Vocabulary vocabulary) {
    boolean[] listed = new boolean[vocabulary.size()];
    vocabulary.draftIds().forEach(id -> listed[id] = true);
    return listed;
  }

  @Override
  public HeadOutput with(DraftOutput draft, int row, int[] more) {
    int[] ids = unlisted(more);
    return ids.length == 0 ? draft : new ExtendedOutput(draft, row, ids, scorer.logits(row, ids));
  }

  /** Those that are not listed, ascending, each once. */
  private int[] unlisted(int[] ids) {
    int[] others = new int[ids.length];
    int count = 0;
    for (int id : ids) {
      if (id < listed.length && !listed[id]) {
        others[count++] = id;
      }
    }
    Arrays.sort(others, 0, count);
    int kept = 0;
    for (int i = 0; i < count; i++) {
      if (i == 0 || others[i] != others[i - 1]) {
        others[kept++] = others[i];
      }
    }
    return Arrays.copyOf(others, kept);
  }
}
