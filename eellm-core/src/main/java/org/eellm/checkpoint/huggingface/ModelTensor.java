package org.eellm.checkpoint.huggingface;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.Checksums;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.ModelConfig;
import org.eellm.model.parameter.ParameterSpec;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * A parameter of a model as it lies in files: made of one or more stored tensors when its turn
 * comes, so that a model of any size passes through the memory of its largest tensor.
 *
 * @param name of the parameter, as {@link ParameterSpec} has it
 * @param type number format that it is given in
 * @param shape of the parameter
 * @param origins the stored tensors that it is made of; none if it is drawn
 * @param assembly makes it of them
 */
public record ModelTensor(
    String name, SafetensorsType type, List<Long> shape, List<Origin> origins, Assembly assembly) {

  /**
   * Where a parameter comes from in a file.
   *
   * @param name the file's name for the tensor that it is in
   * @param stored the tensor, or the part of it that is meant
   * @param file all bytes of the tensor in the file
   */
  public record Origin(String name, StoredTensor stored, MemorySegment file) {
    /** A whole tensor as it lies in the file. */
    public Origin(String name, StoredTensor stored) {
      this(name, stored, stored.file());
    }

    /** A part of the tensor, or the tensor in another order. */
    Origin with(StoredTensor part) {
      return new Origin(name, part, file);
    }
  }

  /** Makes a parameter of stored tensors; lives in the scope it is called in. */
  @FunctionalInterface
  public interface Assembly {
    Tensor of(List<Tensor> origins);
  }

  private static final Assembly COPY = List::getFirst;

  public ModelTensor {
    shape = List.copyOf(shape);
    origins = List.copyOf(origins);
  }

  /** A stored tensor as it is. */
  public static ModelTensor copy(String name, Origin origin) {
    return new ModelTensor(
        name, origin.stored().type(), origin.stored().shape(), List.of(origin), COPY);
  }

  /**
   * A parameter made of stored tensors of one number format.
   *
   * @throws CheckpointException if they have different ones
   */
  public static ModelTensor assembled(
      String name, List<Long> shape, List<Origin> origins, Assembly assembly) {
    SafetensorsType type = origins.getFirst().stored().type();
    for (Origin origin : origins) {
      if (origin.stored().type() != type) {
        throw new CheckpointException(
            "tensors %s and %s are parts of one matrix, but %s and %s; save them in one format"
                .formatted(origins.getFirst().name(), origin.name(), type, origin.stored().type()));
      }
    }
    return new ModelTensor(name, type, shape, origins, assembly);
  }

  /** A tensor made of others, of one number format. */
  public static ModelTensor combined(
      String name, List<Long> shape, List<ModelTensor> parts, Assembly assembly) {
    List<Origin> origins = parts.stream().flatMap(part -> part.origins.stream()).toList();
    return new ModelTensor(
        name,
        parts.getFirst().type,
        shape,
        origins,
        all -> {
          List<Tensor> values = new ArrayList<>();
          int next = 0;
          for (ModelTensor part : parts) {
            int end = next + part.origins.size();
            values.add(part.assembly.of(all.subList(next, end)));
            next = end;
          }
          return assembly.of(values);
        });
  }

  /** A parameter with initial values of its own. */
  public static ModelTensor drawn(
      ParameterSpec spec, ModelConfig model, SafetensorsType type, long seed) {
    return new ModelTensor(spec.name(), type, spec.shape(), List.of(), _ -> spec.draw(model, seed));
  }

  /** Whether two stored tensors are the same in format, shape and every bit. */
  public static boolean equalBytes(StoredTensor a, StoredTensor b) {
    return a.type() == b.type()
        && a.shape().equals(b.shape())
        && a.bytes().mismatch(b.bytes()) == -1;
  }

  /** A tensor of these values under another name. */
  public ModelTensor named(String other) {
    return new ModelTensor(other, type, shape, origins, assembly);
  }

  /** A tensor of these values, rounded to another number format where that is narrower. */
  public ModelTensor as(SafetensorsType other) {
    return other == type
        ? this
        : new ModelTensor(
            name,
            other,
            shape,
            origins,
            all -> assembly.of(all).to(scalarType(other).orElseThrow()));
  }

  /** Whether it is a stored tensor's very bytes. */
  public boolean isCopy() {
    return assembly == COPY && origins.getFirst().stored().isMapped();
  }

  /** Number of elements. */
  public long numel() {
    return shape.stream().reduce(1L, Math::multiplyExact);
  }

  /** Bytes in its number format. */
  public long byteSize() {
    return type.byteSize(shape);
  }

  /** Uses a tensor while its memory lives. */
  @FunctionalInterface
  public interface Use {
    void of(Tensor value) throws IOException;
  }

  /** Makes the parameter, contiguous on the CPU, for the time of its use. */
  public void use(Use use) throws IOException {
    try (Scope _ = Scope.open();
        Arena arena = Arena.ofConfined()) {
      List<Tensor> parts = new ArrayList<>();
      for (Origin origin : origins) {
        parts.add(view(origin, arena));
      }
      Tensor value =
          assembly.of(parts).to(Torch.cpu(), scalarType(type).orElseThrow()).contiguous();
      if (!shape.equals(Arrays.stream(sizes(value)).boxed().toList())) {
        throw new IllegalStateException(
            "%s was assembled as %s, not %s".formatted(name, Arrays.toString(sizes(value)), shape));
      }
      use.of(value);
    }
  }

  private static long[] sizes(Tensor tensor) {
    long[] sizes = new long[(int) tensor.dim()];
    Arrays.setAll(sizes, i -> tensor.size(i));
    return sizes;
  }

  /** A view of the file's mapping; libtorch wants elements at multiples of their size. */
  private static Tensor view(Origin origin, Arena arena) {
    StoredTensor stored = origin.stored();
    MemorySegment bytes = stored.bytes(arena);
    long width = stored.type().bits() / 8;
    MemorySegment aligned =
        bytes.address() % width == 0
            ? bytes
            : arena.allocate(bytes.byteSize(), width).copyFrom(bytes);
    return Tensors.view(
        aligned,
        scalarType(stored.type()).orElseThrow(),
        stored.shape().stream().mapToLong(Long::longValue).toArray());
  }

  /** The formats that weights may have. */
  static Optional<ScalarType> scalarType(SafetensorsType type) {
    return switch (type) {
      case F64 -> Optional.of(ScalarType.Double);
      case F32 -> Optional.of(ScalarType.Float);
      case F16 -> Optional.of(ScalarType.Half);
      case BF16 -> Optional.of(ScalarType.BFloat16);
      default -> Optional.empty();
    };
  }

  /** How many values are NaN or infinite. */
  public long notFinite() {
    long[] count = {0};
    try {
      use(value -> count[0] = numel() - value.isfinite().count_nonzero().item_long());
    } catch (IOException impossible) {
      throw new IllegalStateException("nothing is written here", impossible);
    }
    return count[0];
  }

  /** The checksum of the parameter's bytes. */
  public String sha256() {
    MessageDigest digest = Checksums.start();
    try {
      content().writeTo(bytes -> Checksums.add(digest, bytes));
    } catch (IOException impossible) {
      throw new IllegalStateException("nothing is written here", impossible);
    }
    return Checksums.end(digest);
  }

  /** Hands on the parameter's bytes. */
  public TensorSource.Content content() {
    if (isCopy()) {
      return sink -> sink.write(origins.getFirst().stored().bytes());
    }
    return sink -> use(value -> sink.write(Tensors.bytes(value)));
  }
}
