package org.eellm.checkpoint;

import java.nio.file.Path;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.Device;
import org.eellm.config.Architecture;
import org.eellm.config.TrainConfig;
import org.eellm.model.Decoder;
import org.eellm.model.Parameter;
import org.eellm.tensor.Torch;

/**
 * A model's weights between a folder's safetensors and memory. Names are Hugging Face's for Llama,
 * and {@code exits.{n}.*} for the exit after layer n.
 */
public final class ModelWeights {
  private static final String EMBEDDING = "model.embed_tokens.weight";
  private static final Pattern OUTPUT = Pattern.compile("(exits\\.\\d+\\.)?lm_head\\.weight");

  /** Tables that old exports carry along; they follow from the configuration. */
  private static final Pattern DERIVED = Pattern.compile(".*\\.rotary_emb\\.inv_freq");

  /** Older versions of other tools refuse a file that does not say so. */
  private static final Map<String, String> METADATA = Map.of("format", "pt");

  private ModelWeights() {}

  /**
   * A model with the weights of a folder, for those who only use it.
   *
   * @throws CheckpointException as {@link #load}
   */
  public static Decoder read(Path folder, Architecture architecture, TrainConfig.Device device) {
    return read(
        folder,
        architecture,
        switch (device) {
          case CPU -> Torch.cpu();
          case CUDA -> Torch.cuda();
        });
  }

  /**
   * A model with the weights of a folder.
   *
   * @param architecture the folder's own ({@link HuggingFaceConfig#read}), perhaps computing in
   *     another number format
   * @throws CheckpointException as {@link #load}
   */
  public static Decoder read(Path folder, Architecture architecture, Device device) {
    Decoder model = Decoder.allocate(architecture, device);
    try {
      load(folder, model);
      return model;
    } catch (RuntimeException failure) {
      model.close();
      throw failure;
    }
  }

  /**
   * Fills a model's parameters from a folder, straight from the mapped files, converting float64,
   * float32, float16 and bfloat16 to the model's number format.
   *
   * @throws CheckpointException if a file is malformed, or a tensor is missing, surplus, of another
   *     shape or not of floating point, or if a matrix that the model ties to its embedding is
   *     there and differs from it
   */
  public static void load(Path folder, Decoder model) {
    Map<String, Parameter> parameters =
        model.parameters().all().stream()
            .collect(Collectors.toMap(Parameter::name, Function.identity()));
    try (WeightFiles weights = WeightFiles.open(folder)) {
      Set<String> stored = weights.tensors().keySet();
      refuse(folder, "lack", difference(parameters.keySet(), stored));
      refuse(
          folder,
          "have, beyond config.json's model,",
          difference(stored, parameters.keySet()).stream()
              .filter(name -> !DERIVED.matcher(name).matches() && !isEmbedding(name, weights))
              .toList());
      // In the files' order: a cold disk reads them from front to back.
      for (String name : stored) {
        Parameter parameter = parameters.get(name);
        if (parameter != null) {
          NamedTensors.copy(
              folder, name, weights.tensor(name), parameter, model.parameters().flat());
        }
      }
    }
  }

  private static List<String> difference(Collection<String> names, Set<String> others) {
    return names.stream().filter(name -> !others.contains(name)).sorted().toList();
  }

  /** Whether a surplus matrix is an output matrix, stored though it is the embedding. */
  private static boolean isEmbedding(String name, WeightFiles weights) {
    StoredTensor embedding = weights.tensor(EMBEDDING);
    StoredTensor output = weights.tensor(name);
    return OUTPUT.matcher(name).matches()
        && output.type() == embedding.type()
        && output.shape().equals(embedding.shape())
        && output.bytes().mismatch(embedding.bytes()) == -1;
  }

  private static void refuse(Path folder, String verb, List<String> names) {
    if (!names.isEmpty()) {
      int more = names.size() - 3;
      throw new CheckpointException(
          "%s: the weights %s %s%s; config.json and the weights must be of the same model"
              .formatted(
                  folder,
                  verb,
                  names.stream().limit(3).collect(Collectors.joining(", ")),
                  more > 0 ? " and " + more + " more" : ""));
    }
  }

  /**
   * Writes a model's weights as {@code model.safetensors}, in the model's number format, one tensor
   * at a time. Equal weights give equal bytes: those that Python's library writes.
   *
   * @throws CheckpointException if the file cannot be written whole
   */
  public static void save(Path folder, Decoder model) {
    SafetensorsWriter.write(
        folder.resolve(WeightFiles.SINGLE),
        METADATA,
        model.parameters().all().stream()
            .sorted(Comparator.comparing(Parameter::name))
            .map(
                parameter ->
                    NamedTensors.source(parameter.name(), parameter, model.parameters().flat()))
            .toList());
  }
}
