package org.eellm.convert;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;

/**
 * A value from a pickle, as plain data. What a pickle would have Python build by calling something
 * is {@link Opaque}, apart from dictionaries, namespaces and tensors.
 */
sealed interface Pickled {

  /** Python's {@code None}. */
  record None() implements Pickled {}

  /** A truth value. */
  record Bool(boolean value) implements Pickled {}

  /** A whole number that fits 64 bits. */
  record Int(long value) implements Pickled {}

  /** A float. */
  record Real(double value) implements Pickled {}

  /** A text. */
  record Text(String value) implements Pickled {}

  /** A list, tuple or set. */
  record Items(List<Pickled> values) implements Pickled {
    Items() {
      this(new ArrayList<>());
    }
  }

  /** A dictionary or the attributes of a namespace. Keys are texts, numbers or truth values. */
  record Dict(Map<Pickled, Pickled> entries) implements Pickled {
    Dict() {
      this(new LinkedHashMap<>());
    }

    Optional<Pickled> find(String key) {
      return Optional.ofNullable(entries.get(new Text(key)));
    }
  }

  /** A class or function by name: {@code torch.FloatStorage}. */
  record Global(String name) implements Pickled {}

  /** Something Python would have built; of no use to us. */
  record Opaque(String name) implements Pickled {}

  /** The numbers behind one or more tensors. */
  record Storage(SafetensorsType type, MemorySegment bytes) implements Pickled {
    long count() {
      return bytes.byteSize() * 8 / type.bits();
    }
  }

  /**
   * A tensor: a strided view of a storage.
   *
   * @param offset of the first element, in elements
   * @param stride of each dimension, in elements
   */
  record TensorView(Storage storage, long offset, List<Long> shape, List<Long> stride)
      implements Pickled {

    /** Checks that all elements are different ones within the storage. */
    public TensorView {
      long elements = 1;
      long last = offset;
      if (shape.size() != stride.size() || offset < 0) {
        throw new CheckpointException("a tensor's shape and strides disagree");
      }
      for (int i = 0; i < shape.size(); i++) {
        if (shape.get(i) < 0 || stride.get(i) < 0) {
          throw new CheckpointException("a tensor's shape or stride is negative");
        }
        try {
          elements = Math.multiplyExact(elements, shape.get(i));
          last =
              Math.addExact(last, Math.multiplyExact(Math.max(shape.get(i) - 1, 0), stride.get(i)));
        } catch (ArithmeticException failure) {
          throw new CheckpointException("a tensor is larger than 2^63 elements", failure);
        }
      }
      if (elements > 0 && (last >= storage.count() || elements > storage.count())) {
        throw new CheckpointException(
            "a tensor of shape %s reaches beyond its storage of %d numbers"
                .formatted(shape, storage.count()));
      }
      shape = List.copyOf(shape);
      stride = List.copyOf(stride);
    }

    /**
     * The tensor as if it lay in a file of its own.
     *
     * @param arena for a copy, where the elements do not lie in order
     */
    StoredTensor stored(Arena arena) {
      long width = storage.type.bits() / 8;
      long size = storage.type.byteSize(shape);
      if (isContiguous()) {
        return new StoredTensor(
            storage.type, shape, storage.bytes.asSlice(size == 0 ? 0 : offset * width, size));
      }
      MemorySegment copy = arena.allocate(size, Long.BYTES);
      long[] index = new long[shape.size()];
      for (long at = 0; at < size; at += width) {
        long from = offset;
        for (int i = 0; i < index.length; i++) {
          from += index[i] * stride.get(i);
        }
        MemorySegment.copy(storage.bytes, from * width, copy, at, width);
        for (int i = index.length - 1; i >= 0 && ++index[i] == shape.get(i); i--) {
          index[i] = 0;
        }
      }
      return new StoredTensor(storage.type, shape, copy.asReadOnly());
    }

    private boolean isContiguous() {
      long expected = 1;
      for (int i = shape.size() - 1; i >= 0; i--) {
        if (shape.get(i) != 1 && stride.get(i) != expected) {
          return shape.contains(0L);
        }
        expected *= shape.get(i);
      }
      return true;
    }
  }
}
