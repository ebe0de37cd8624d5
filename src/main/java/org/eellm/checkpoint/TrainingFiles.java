package org.eellm.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Parameter;
import org.eellm.model.Parameters;

/** The files in a checkpoint's {@code training} folder, which only a resumed run needs. */
public final class TrainingFiles {
  private static final String FOLDER = "training";

  private TrainingFiles() {}

  /**
   * Writes all that a resumed run must know beside tensors, as JSON with snake_case keys.
   *
   * @param state a record of numbers, texts, lists and records; what is read back equals it, bit
   *     for bit
   */
  public static void writeState(Path checkpoint, Record state) throws IOException {
    Files.createDirectories(checkpoint.resolve(FOLDER));
    JsonFiles.write(state(checkpoint), state);
  }

  /**
   * Reads what {@link #writeState} wrote.
   *
   * @throws CheckpointException if the checkpoint has no training state or it is malformed
   */
  public static <T extends Record> T readState(Path checkpoint, Class<T> type) {
    return JsonFiles.read(existing(state(checkpoint)), type);
  }

  /**
   * Writes the optimizer's state as named tensors: of each buffer each parameter's part, as {@code
   * exp_avg.model.norm.weight}. A buffer that is the parameters themselves is left out, as the
   * model's weights have it.
   *
   * @param buffers by name, float32, each laid out as {@link Parameters#flat}
   * @throws CheckpointException if the file cannot be written whole
   */
  public static void writeOptimizer(
      Path checkpoint, Parameters parameters, SequencedMap<String, Tensor> buffers)
      throws IOException {
    Files.createDirectories(checkpoint.resolve(FOLDER));
    SafetensorsWriter.write(
        optimizer(checkpoint),
        Map.of(),
        parts(parameters, buffers).stream()
            .map(part -> NamedTensors.source(part.name(), part.parameter(), part.flat()))
            .toList());
  }

  /**
   * Fills an optimizer's buffers with what {@link #writeOptimizer} wrote of the same model.
   *
   * @param buffers as there
   * @throws CheckpointException if the file is missing or malformed, or has not exactly the
   *     buffers' tensors
   */
  public static void readOptimizer(
      Path checkpoint, Parameters parameters, SequencedMap<String, Tensor> buffers) {
    Path path = existing(optimizer(checkpoint));
    List<Part> parts = parts(parameters, buffers);
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      for (Part part : parts) {
        NamedTensors.copy(
            path, part.name(), file.tensor(part.name()), part.parameter(), part.flat());
      }
      if (file.tensors().size() != parts.size()) {
        throw new CheckpointException(
            "%s: has %d tensors where the model's optimizer has %d; the checkpoint is of another run"
                .formatted(path, file.tensors().size(), parts.size()));
      }
    }
  }

  /** A parameter's part of one of the optimizer's buffers. */
  private record Part(String name, Parameter parameter, Tensor flat) {}

  private static List<Part> parts(Parameters parameters, SequencedMap<String, Tensor> buffers) {
    long weights = parameters.flat().data_ptr().address();
    List<Part> parts = new ArrayList<>();
    buffers.forEach(
        (name, flat) -> {
          if (flat.data_ptr().address() != weights) {
            for (Parameter parameter : parameters.all()) {
              parts.add(new Part(name + "." + parameter.name(), parameter, flat));
            }
          }
        });
    return parts;
  }

  private static Path optimizer(Path checkpoint) {
    return checkpoint.resolve(FOLDER).resolve("optimizer.safetensors");
  }

  private static Path state(Path checkpoint) {
    return checkpoint.resolve(FOLDER).resolve("state.json");
  }

  private static Path existing(Path path) {
    if (!Files.exists(path)) {
      throw new CheckpointException(
          path + ": is missing; only a checkpoint of a training run can be resumed");
    }
    return path;
  }
}
