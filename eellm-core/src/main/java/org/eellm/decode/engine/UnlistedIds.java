package org.eellm.decode.engine;

import java.util.Arrays;

/**
 * Scores ids beyond a short list, one by one: a row of the output matrix times the hidden state. A
 * text's own names are seldom on a list of frequent ids, and are what comes next all the more
 * often.
 *
 * @param listed whether an id is on the list, by id
 * @param rows of the output matrix
 * @param logits of the list, with the hidden states
 * @param row memory for one of the rows
 */
record UnlistedIds(boolean[] listed, EmbeddingTable rows, KernelLogits logits, float[] row)
    implements DraftOutput.Extension {

  static UnlistedIds of(Vocabulary vocabulary, KernelHead draft) {
    boolean[] listed = new boolean[vocabulary.size()];
    vocabulary.draftIds().forEach(id -> listed[id] = true);
    return new UnlistedIds(listed, draft.rows(), draft.logits(), new float[draft.rows().columns()]);
  }

  @Override
  public HeadOutput with(DraftOutput draft, int index, int[] more) {
    int[] ids = unlisted(more);
    if (ids.length == 0) {
      return draft;
    }
    float[] scores = new float[ids.length];
    for (int i = 0; i < ids.length; i++) {
      scores[i] = rows.times(ids[i], logits.hiddenAddress(index), row);
    }
    return new ExtendedOutput(draft, index, ids, scores);
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
