package org.eellm.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.model.parameter.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** The seam between tensors in files and tensors in libtorch. */
final class NamedTensors {
  private NamedTensors() {}

  /**
   * A tensor to be written as it is; one on a GPU comes to the CPU when its turn comes.
   *
   * @param values asked for when its turn comes; of {@code type}, as many as {@code shape} has
   */
  static TensorSource source(
      String name, SafetensorsType type, long[] shape, Supplier<Tensor> values) {
    return new TensorSource(
        name,
        type,
        list(shape),
        sink -> {
          try (Scope _ = Scope.open()) {
            Tensor tensor = values.get();
            sink.write(Tensors.bytes(tensor.to(Torch.cpu(), Tensors.scalarType(tensor))));
          }
        });
  }

  /** The format in files of a tensor's numbers: float32 or bfloat16. */
  static SafetensorsType type(Tensor tensor) {
    return Tensors.scalarType(tensor) == ScalarType.BFloat16
        ? SafetensorsType.BF16
        : SafetensorsType.F32;
  }

  /**
   * Copies this rank's part of a stored tensor into its parameter, converting its number format.
   *
   * @param place the file or folder, for messages
   * @param rank of the {@code ranks} that share the parameter out
   * @throws CheckpointException if shapes differ or the stored format is none of weights
   */
  static void copy(
      Path place, String name, StoredTensor stored, Parameter parameter, int rank, int ranks) {
    ModelWeights.requireShape(place, name, stored, list(parameter.wholeShape()));
    ScalarType type = scalarType(place, name, stored);
    try (Scope _ = Scope.open();
        Arena arena = Arena.ofConfined()) {
      Tensor whole = Tensors.view(aligned(stored, arena), type, parameter.wholeShape());
      parameter.fill(whole, rank, ranks);
    }
  }

  /** Copies a stored tensor into another with as many elements, converting its number format. */
  static void copy(Path place, String name, StoredTensor stored, Tensor into) {
    ScalarType type = scalarType(place, name, stored);
    try (Scope _ = Scope.open();
        Arena arena = Arena.ofConfined()) {
      into.copy_(Tensors.view(aligned(stored, arena), type, into.numel()));
    }
  }

  private static ScalarType scalarType(Path place, String name, StoredTensor stored) {
    return switch (stored.type()) {
      case F64 -> ScalarType.Double;
      case F32 -> ScalarType.Float;
      case F16 -> ScalarType.Half;
      case BF16 -> ScalarType.BFloat16;
      default -> throw noWeights(place, name, stored);
    };
  }

  /** The exception for a number format that weights do not have. */
  static CheckpointException noWeights(Path place, String name, StoredTensor stored) {
    return new CheckpointException(
        "%s: tensor %s is %s; weights must be F64, F32, F16 or BF16"
            .formatted(place, name, stored.type()));
  }

  /** The format allows tensors anywhere in a file, libtorch only at multiples of their element. */
  private static MemorySegment aligned(StoredTensor stored, Arena arena) {
    MemorySegment bytes = stored.bytes(arena);
    long alignment = stored.type().bits() / 8;
    return bytes.address() % alignment == 0
        ? bytes
        : arena.allocate(bytes.byteSize(), alignment).copyFrom(bytes);
  }

  private static List<Long> list(long[] shape) {
    return Arrays.stream(shape).boxed().toList();
  }
}
