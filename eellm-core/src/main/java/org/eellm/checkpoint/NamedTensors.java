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
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.Sharding;
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
      MemorySegment bytes = aligned(stored.bytes(arena), stored.type().bits() / 8, arena);
      Tensor whole = Tensors.view(bytes, type, parameter.wholeShape());
      parameter.fill(whole, rank, ranks);
    }
  }

  /**
   * A range of a parameter in a file.
   *
   * @param place the file or folder, for messages
   * @param name of the stored tensor
   * @param range that the tensor has, row by row
   */
  record StoredRange(Path place, String name, StoredTensor stored, PartRange range) {
    /** All of a parameter. */
    static StoredRange whole(Path place, String name, StoredTensor stored) {
      return new StoredRange(place, name, stored, new PartRange(0, 1, 0, numel(stored)));
    }

    /** Number of elements of a stored tensor. */
    static long numel(StoredTensor stored) {
      return stored.shape().stream().reduce(1L, Math::multiplyExact);
    }
  }

  /**
   * Copies what a piece of a flat buffer has of a parameter from a stored range of this, and reads
   * no more, converting its number format.
   *
   * @return bytes of the file that were read
   */
  static long copy(
      StoredRange from, FlatStateShard piece, Parameter parameter, TensorParallel parallel) {
    StoredTensor stored = from.stored();
    ScalarType type = scalarType(from.place(), from.name(), stored);
    FlatStateShard.Overlap overlap = piece.overlap(parameter);
    boolean cut = parameter.split() != Sharding.REPLICATED;
    PartRange own =
        new PartRange(
            cut ? parallel.rank() : 0,
            cut ? parallel.size() : 1,
            overlap.inParameter(),
            overlap.length());
    long width = stored.type().bits() / 8;
    long read = 0;
    for (PartRange.Run run : from.range().of(own, parameter.split(), parameter.wholeShape())) {
      try (Scope _ = Scope.open();
          Arena arena = Arena.ofConfined()) {
        MemorySegment bytes = stored.bytes(arena).asSlice(run.from() * width, run.length() * width);
        piece
            .values()
            .narrow(0, overlap.inPiece() + run.into(), run.length())
            .copy_(Tensors.view(aligned(bytes, width, arena), type, run.length()));
        read += bytes.byteSize();
      }
    }
    return read;
  }

  private static ScalarType scalarType(Path place, String name, StoredTensor stored) {
    return switch (stored.type()) {
      case F64 -> ScalarType.Double;
      case F32 -> ScalarType.Float;
      case F16 -> ScalarType.Half;
      case BF16 -> ScalarType.BFloat16;
      default -> throw stored.noWeights(place, name);
    };
  }

  /** The format allows tensors anywhere in a file, libtorch only at multiples of their element. */
  private static MemorySegment aligned(MemorySegment bytes, long alignment, Arena arena) {
    return bytes.address() % alignment == 0
        ? bytes
        : arena.allocate(bytes.byteSize(), alignment).copyFrom(bytes);
  }

  private static List<Long> list(long[] shape) {
    return Arrays.stream(shape).boxed().toList();
  }
}
