package org.eellm.data;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.data.tokenizer.Tokenizer;

/** Joins datasets of one tokenizer, such as shards that several machines have prepared. */
public final class DatasetMerge {
  private DatasetMerge() {}

  /** The figures of a merge. */
  public record Summary(long documents, long tokens, boolean isMasked) {}

  /**
   * Writes the documents of all datasets, in their order, as one, with its tokenizer; and with a
   * mask if one of them has one.
   *
   * @param prefixes paths of the datasets' files without their endings, at least one
   * @param output the same of the result
   * @throws DataException if a dataset is damaged or made with another tokenizer or chat template
   *     than the first, or is the output, or a preparation of the output was stopped; what stood
   *     there before is left as it was then
   */
  public static Summary run(List<Path> prefixes, Path output) {
    Tokenizer tokenizer = Tokenizer.load(tokenizer(prefixes.getFirst()));
    for (Path prefix : prefixes) {
      if (prefix.toAbsolutePath().normalize().equals(output.toAbsolutePath().normalize())) {
        throw new DataException(prefix + ": is merged, and cannot be the output; choose another");
      }
      Tokenizer other = Tokenizer.load(tokenizer(prefix));
      if (!other.definition().equals(tokenizer.definition())
          || !other.configuration().equals(tokenizer.configuration())) {
        throw differs(prefix, "tokenizer", prefixes.getFirst());
      }
      if (!other.chatTemplate().equals(tokenizer.chatTemplate())) {
        throw differs(prefix, "chat template", prefixes.getFirst());
      }
    }
    if (Files.exists(PreparationState.file(output))) {
      throw new DataException(
          "%s: tells of a prepare that was stopped; let it go on, remove this file, or choose another output"
              .formatted(PreparationState.file(output)));
    }
    long documents = 0;
    long tokens = 0;
    boolean masked = false;
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(output, tokenizer.vocabSize())) {
      for (Path prefix : prefixes) {
        try (IndexedDataset dataset = IndexedDataset.open(prefix)) {
          dataset.check(tokenizer.vocabSize());
          copy(dataset, writer);
          documents += dataset.documents();
          tokens += dataset.tokens();
          masked |= dataset.isMasked();
        }
      }
      writer.finish();
      tokenizer.save(Preparation.tokenizerFolder(output));
      writer.commit();
    }
    return new Summary(documents, tokens, masked);
  }

  private static DataException differs(Path prefix, String what, Path first) {
    return new DataException(
        "%s: is of another %s than %s; prepare both with one, by --tokenizer"
            .formatted(prefix, what, first));
  }

  private static Path tokenizer(Path prefix) {
    Path folder = Preparation.tokenizerFolder(prefix);
    if (!Files.isDirectory(folder)) {
      throw new DataException(
          folder + ": is not there; copy the tokenizer that made the dataset to it");
    }
    return folder;
  }

  private static void copy(IndexedDataset dataset, IndexedDatasetWriter writer) {
    for (long document = 0; document < dataset.documents(); document++) {
      long start = dataset.documentStart(document);
      int length = Math.toIntExact(dataset.documentStart(document + 1) - start);
      int[] ids = new int[length];
      dataset.read(start, ids, 0, length);
      if (dataset.isMasked()) {
        boolean[] counted = new boolean[length];
        for (int i = 0; i < length; i++) {
          counted[i] = dataset.isCounted(start + i);
        }
        writer.add(new CountedTokens(ids, counted));
      } else {
        writer.add(ids);
      }
      writer.endDocument();
    }
  }
}
