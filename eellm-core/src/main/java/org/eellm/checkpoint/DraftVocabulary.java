package org.eellm.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.gguf.GgufFile;

/**
 * The ids that a model's exits draft from, in the file {@code draft_vocabulary.json} of a model
 * folder: those that the model writes most often (FR-Spec, arXiv 2502.14856).
 *
 * @param ids ascending
 */
public record DraftVocabulary(List<Integer> ids) {
  static final String FILE = "draft_vocabulary.json";

  public DraftVocabulary {
    ids = List.copyOf(ids);
  }

  /**
   * The most frequent ids of texts. Where these have too few, ids follow in their order: those of
   * byte-pair encodings are sorted by how often they came in the text that the tokenizer saw.
   *
   * @param texts that the model wrote
   * @param size how many ids, at most {@code vocabSize}
   * @param vocabSize ids that the model may write: those below
   */
  public static DraftVocabulary count(List<List<Integer>> texts, int size, int vocabSize) {
    if (size < 1 || size > vocabSize) {
      throw new CheckpointException(
          "a draft vocabulary of %d ids: the model has %d; use 1 to %d"
              .formatted(size, vocabSize, vocabSize));
    }
    Map<Integer, Long> counts =
        texts.stream()
            .flatMap(List::stream)
            .collect(Collectors.groupingBy(id -> id, Collectors.counting()));
    Comparator<Integer> mostFrequent =
        Comparator.<Integer>comparingLong(id -> counts.getOrDefault(id, 0L)).reversed();
    return new DraftVocabulary(
        IntStream.range(0, vocabSize)
            .boxed()
            .sorted(mostFrequent.thenComparing(Comparator.naturalOrder()))
            .limit(size)
            .sorted()
            .toList());
  }

  /**
   * Reads a model folder's; without ids if it has none.
   *
   * @param vocabSize ids that the model may write: those below
   * @throws CheckpointException if the file is damaged, or of another vocabulary
   */
  public static DraftVocabulary read(Path folder, int vocabSize) {
    Path path = folder.resolve(FILE);
    if (!Files.exists(path)) {
      return new DraftVocabulary(List.of());
    }
    DraftVocabulary read = JsonFiles.read(path, DraftVocabulary.class);
    List<Integer> ascending =
        read.ids().stream().filter(id -> id >= 0 && id < vocabSize).distinct().sorted().toList();
    if (!read.ids().equals(ascending)) {
      throw new CheckpointException(
          "%s: ids have to ascend within 0..%d; remove the file, or make it anew with calibrate --draft-vocabulary"
              .formatted(path, vocabSize - 1));
    }
    return read;
  }

  /**
   * Writes it into a model folder.
   *
   * @throws CheckpointException if the model is a GGUF file
   */
  public void write(Path folder) throws IOException {
    if (GgufFile.isOne(folder)) {
      throw new CheckpointException(
          folder + ": a list of drafts lies in a model folder; make one with eellm convert");
    }
    JsonFiles.write(folder.resolve(FILE), this);
  }
}
