package org.eellm.decode.speculate;

import java.nio.file.Path;
import org.eellm.checkpoint.DraftTable;
import org.eellm.data.IndexedDataset;

/** Makes draft tables of prepared text. */
public final class DraftTables {
  /** Tokens that are read at once. */
  private static final int CHUNK = 1 << 16;

  private DraftTables() {}

  /**
   * Counts a dataset; of one with more than {@link DraftTable#MOST_TOKENS} tokens chunks from all
   * over it.
   *
   * @param dataset its prefix, without {@code .bin} and {@code .idx}
   * @throws org.eellm.data.DataException if it has tokens that the model has not
   */
  public static DraftTable count(Path dataset, int vocabSize, int pairs) {
    try (IndexedDataset tokens = IndexedDataset.open(dataset)) {
      tokens.check(vocabSize);
      int count = (int) Math.min(DraftTable.MOST_TOKENS, tokens.tokens());
      int[] ids = new int[count];
      for (int done = 0; done < count; done += CHUNK) {
        long from = (long) ((double) done / count * tokens.tokens());
        tokens.read(from, ids, done, Math.min(CHUNK, count - done));
      }
      return DraftTable.count(ids, pairs);
    }
  }
}
