package org.eellm.decode.head;

import java.io.Serializable;
import java.util.List;
import org.eellm.checkpoint.DraftTable;
import org.eellm.config.SettingException;

/**
 * The ids that a model may predict.
 *
 * @param size ids that may be predicted: those below. A model's vocabulary is often padded beyond
 *     its tokenizer's
 * @param draftIds ids that exits draft from, ascending; all if empty. A short list of frequent ids
 *     makes a draft cheap, and changes no text, since the full model verifies every draft (FR-Spec,
 *     arXiv 2502.14856)
 * @param draftTable what mostly follows two ids: drafts without a layer
 */
public record Vocabulary(int size, List<Integer> draftIds, DraftTable draftTable)
    implements Serializable {
  public Vocabulary {
    if (size < 1) {
      throw new SettingException("vocab-size", size + " is below 1; use 1 or more");
    }
    draftIds = List.copyOf(draftIds);
    int before = -1;
    for (int id : draftIds) {
      if (id <= before || id >= size) {
        throw new SettingException(
            "draft-vocabulary",
            "%d after %d: ids have to ascend, within 0..%d".formatted(id, before, size - 1));
      }
      before = id;
    }
  }

  public Vocabulary(int size, List<Integer> draftIds) {
    this(size, draftIds, DraftTable.none());
  }

  /** Whether a table drafts. */
  public boolean hasDraftTable() {
    return draftTable.size() > 0;
  }

  /** Bytes of memory of the draft table. */
  public long draftTableBytes() {
    return draftTable.bytes();
  }

  /** Exits draft from all ids. */
  public static Vocabulary of(int size) {
    return new Vocabulary(size, List.of());
  }
}
