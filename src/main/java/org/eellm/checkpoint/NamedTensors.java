package org.eellm.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.model.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** The seam between tensors in files and tensors in libtorch. */
final class NamedTensors {
  private NamedTensors() {}

  /**
   * A parameter's part of a flat buffer, to be written as it is; one on a GPU comes to the CPU when
   * its turn comes.
   *
   * @param flat float32 or bfloat16
   */
  static TensorSource source(String name, Parameter parameter, Tensor flat) {
    ScalarType type = Tensors.scalarType(flat);
    return new TensorSource(
        name,
        type == ScalarType.BFloat16 ? SafetensorsType.BF16 : SafetensorsType.F32,
        shape(parameter),
        sink -> {
          try (Scope _ = Scope.open()) {
            sink.write(Tensors.bytes(parameter.of(flat).to(Torch.cpu(), type)));
          }
        });
  }

  /**
   * Copies a stored tensor into a parameter's part of a flat buffer, converting its number format.
   *
   * @param place the file or folder, for messages
   * @throws CheckpointException if shapes differ or the stored format is none of weights
   */
  static void copy(Path place, String name, StoredTensor stored, Parameter parameter, Tensor flat) {
    if (!stored.shape().equals(shape(parameter))) {
      throw new CheckpointException(
          "%s: tensor %s has shape %s, the model %s; config.json and the weights must be of the same model"
              .formatted(place, name, stored.shape(), shape(parameter)));
    }
    ScalarType type =
        switch (stored.type()) {
          case F64 -> ScalarType.Double;
          case F32 -> ScalarType.Float;
          case F16 -> ScalarType.Half;
          case BF16 -> ScalarType.BFloat16;
          default ->
              throw new CheckpointException(
                  "%s: tensor %s is %s; weights must be F64, F32, F16 or BF16"
                      .formatted(place, name, stored.type()));
        };
    try (Scope _ = Scope.open();
        Arena arena = Arena.ofConfined()) {
      Tensor view = Tensors.view(aligned(stored, arena), type, parameter.shape());
      parameter.of(flat).copy_(view);
    }
  }

  /** The format allows tensors anywhere in a file, libtorch only at multiples of their element. */
  private static MemorySegment aligned(StoredTensor stored, Arena arena) {
    MemorySegment bytes = stored.bytes();
    long alignment = stored.type().bits() / 8;
    return bytes.address() % alignment == 0
        ? bytes
        : arena.allocate(bytes.byteSize(), alignment).copyFrom(bytes);
  }

  private static List<Long> shape(Parameter parameter) {
    return Arrays.stream(parameter.shape()).boxed().toList();
  }
}
