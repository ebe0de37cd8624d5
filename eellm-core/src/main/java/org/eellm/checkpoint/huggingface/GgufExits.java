package org.eellm.checkpoint.huggingface;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitLayout;
import org.eellm.gguf.GgufException;
import org.eellm.gguf.GgufFile;
import org.eellm.gguf.GgufMetadata;

/**
 * The exits of a model in a GGUF file, in a file of their own beside it: llama.cpp refuses a file
 * with tensors that it does not compute with. Tensors have our names, and rows in our order.
 *
 * @param origins the stored tensors by our names
 */
public record GgufExits(GgufFile file, ExitLayout layout, SequencedMap<String, Origin> origins) {
  /** What such a file is in {@code general.architecture}. */
  public static final String ARCHITECTURE = "eellm-exits";

  public static final String LAYERS = "exits.layers";
  public static final String NORM = "exits.norm";
  public static final String MLP = "exits.mlp";
  public static final String BLOCK = "exits.block";
  public static final String TIE_OUTPUT = "exits.tie_output";

  private static final String ENDING = ".gguf";

  /** Where the exits of a model's file are, if it has any: {@code m.exits.gguf} of m.gguf. */
  public static Path beside(Path model) {
    String name = String.valueOf(model.getFileName());
    int stem = name.length() - ENDING.length();
    boolean ends = stem >= 0 && name.regionMatches(true, stem, ENDING, 0, ENDING.length());
    return model.resolveSibling((ends ? name.substring(0, stem) : name) + ".exits" + ENDING);
  }

  /**
   * Opens the exits beside a model's file.
   *
   * @throws CheckpointException if their file is damaged or is another
   */
  static Optional<GgufExits> of(Path model) {
    Path path = beside(model);
    return Files.exists(path) ? Optional.of(open(path)) : Optional.empty();
  }

  private static GgufExits open(Path path) {
    GgufFile file = GgufModel.file(path);
    try {
      SequencedMap<String, Origin> origins = new LinkedHashMap<>();
      file.tensors()
          .forEach(
              (name, tensor) ->
                  origins.put(name, new Origin(name, GgufModel.stored(path, name, tensor))));
      return new GgufExits(file, layout(file.metadata()), origins);
    } catch (GgufException | ConfigException failure) {
      file.close();
      throw new CheckpointException(path + ": " + failure.getMessage(), failure);
    } catch (RuntimeException failure) {
      file.close();
      throw failure;
    }
  }

  private static ExitLayout layout(GgufMetadata metadata) {
    if (!metadata.text("general.architecture").equals(ARCHITECTURE)) {
      metadata.refuse(
          "general.architecture",
          "is not %s; rename the file, or remove it".formatted(ARCHITECTURE));
    }
    List<Long> layers = metadata.wholes(LAYERS).orElse(List.of());
    return new ExitLayout(
        layers.stream().map(layer -> Math.clamp(layer, -1, Integer.MAX_VALUE)).toList(),
        metadata.flag(NORM).orElse(false),
        metadata.flag(MLP).orElse(false),
        metadata.flag(BLOCK).orElse(false),
        metadata.flag(TIE_OUTPUT).orElse(false));
  }
}
