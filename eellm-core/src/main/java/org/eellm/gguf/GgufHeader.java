package org.eellm.gguf;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.function.Supplier;
import org.eellm.gguf.GgufValue.Flag;
import org.eellm.gguf.GgufValue.Flags;
import org.eellm.gguf.GgufValue.Real;
import org.eellm.gguf.GgufValue.Reals;
import org.eellm.gguf.GgufValue.Text;
import org.eellm.gguf.GgufValue.Texts;
import org.eellm.gguf.GgufValue.Whole;
import org.eellm.gguf.GgufValue.Wholes;

/**
 * Reads a GGUF file's header. Every count and length is held against the bytes that are left before
 * anything of its size is made.
 */
final class GgufHeader {
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private static final String ALIGNMENT = "general.alignment";
  private static final int MAGIC = 0x46554747; // "GGUF"
  private static final int MAX_ALIGNMENT = 1 << 20;
  private static final int MAX_DIMENSIONS = 4;
  private static final int MAX_NAME_BYTES = 1 << 16;
  private static final int MAX_ELEMENTS = 1 << 24;
  private static final int LEAST_KEY_BYTES = 8 + 1 + 4 + 1;
  private static final int LEAST_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8;

  private final MemorySegment file;
  private final long size;
  private long at;

  private final Map<String, GgufValue> metadata = new LinkedHashMap<>();
  private final SequencedMap<String, GgufTensor> tensors = new LinkedHashMap<>();

  private GgufHeader(MemorySegment file) {
    this.file = file;
    this.size = file.byteSize();
  }

  /**
   * @throws GgufException if the file breaks a rule of the format
   */
  static GgufHeader read(MemorySegment file) {
    GgufHeader header = new GgufHeader(file);
    header.read();
    return header;
  }

  Map<String, GgufValue> metadata() {
    return metadata;
  }

  SequencedMap<String, GgufTensor> tensors() {
    return tensors;
  }

  private void read() {
    if (size < 4 || file.get(INT, 0) != MAGIC) {
      throw new GgufException("does not begin with GGUF; it is no GGUF file");
    }
    at = 4;
    requireVersion(int32("the version"));
    long tensorCount = count("tensors", LEAST_TENSOR_BYTES);
    long keyCount = count("keys", LEAST_KEY_BYTES);
    for (long i = 0; i < keyCount; i++) {
      String key = name("the name of key " + i);
      GgufValue value = value(key, int32(key));
      if (metadata.put(key, value) != null) {
        throw new GgufException("key %s is there twice".formatted(key));
      }
    }
    readTensors(tensorCount, alignment());
  }

  private static void requireVersion(int version) {
    if (version == Integer.reverseBytes(2) || version == Integer.reverseBytes(3)) {
      throw new GgufException(
          "is big-endian, which is not read; convert the model to GGUF on a little-endian machine");
    }
    if (version != 2 && version != 3) {
      throw new GgufException(
          "has version %s of the format; 2 and 3 are read"
              .formatted(Integer.toUnsignedString(version)));
    }
  }

  private int alignment() {
    GgufValue value = metadata.getOrDefault(ALIGNMENT, new Whole(32));
    if (value instanceof Whole(long alignment)
        && alignment >= 1
        && alignment <= MAX_ALIGNMENT
        && Long.bitCount(alignment) == 1) {
      return (int) alignment;
    }
    throw new GgufException(
        "%s: %s is no power of two from 1 to %d"
            .formatted(ALIGNMENT, value.shown(), MAX_ALIGNMENT));
  }

  // Tensors

  private record Entry(String name, GgufType type, List<Long> shape, long offset, long bytes) {}

  private void readTensors(long count, int alignment) {
    List<Entry> entries = new ArrayList<>();
    for (long i = 0; i < count; i++) {
      entries.add(entry(i, alignment));
    }
    long start = (at + alignment - 1) / alignment * alignment;
    long dataSize = Math.max(0, size - start);
    for (Entry entry : entries) {
      if (entry.offset > dataSize || entry.bytes > dataSize - entry.offset) {
        throw new GgufException(
            "tensor %s of %d bytes at %d ends beyond the file's data of %d bytes; the file is truncated"
                .formatted(entry.name, entry.bytes, entry.offset, dataSize));
      }
      GgufTensor tensor =
          new GgufTensor(entry.type, entry.shape, file.asSlice(start + entry.offset, entry.bytes));
      if (tensors.put(entry.name, tensor) != null) {
        throw new GgufException("tensor %s is there twice".formatted(entry.name));
      }
    }
    requireApart(entries);
  }

  private static void requireApart(List<Entry> entries) {
    List<Entry> sorted = entries.stream().sorted(Comparator.comparingLong(Entry::offset)).toList();
    for (int i = 1; i < sorted.size(); i++) {
      Entry before = sorted.get(i - 1);
      if (before.offset + before.bytes > sorted.get(i).offset) {
        throw new GgufException(
            "tensors %s and %s overlap".formatted(before.name, sorted.get(i).name));
      }
    }
  }

  private Entry entry(long index, int alignment) {
    String name = name("the name of tensor " + index);
    int dimensions = int32(name);
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
      throw new GgufException(
          "tensor %s has %s dimensions; 1 to %d are possible"
              .formatted(name, Integer.toUnsignedString(dimensions), MAX_DIMENSIONS));
    }
    List<Long> shape = new ArrayList<>();
    long elements = 1;
    for (int i = 0; i < dimensions; i++) {
      long length = int64(name);
      // No number takes less than half a byte.
      if (length < 1 || length > 2 * size / elements) {
        throw new GgufException(
            "tensor %s: a dimension of %s is not possible in a file of %d bytes"
                .formatted(name, Long.toUnsignedString(length), size));
      }
      elements *= length;
      shape.addFirst(length); // innermost first in the file
    }
    GgufType type = type(name);
    if (shape.getLast() % type.group() != 0) {
      throw new GgufException(
          "tensor %s: rows of %d do not divide into groups of %d, which %s has"
              .formatted(name, shape.getLast(), type.group(), type));
    }
    long offset = int64(name);
    if (offset < 0 || offset % alignment != 0) {
      throw new GgufException(
          "tensor %s begins at %s, which is no multiple of the alignment %d"
              .formatted(name, Long.toUnsignedString(offset), alignment));
    }
    return new Entry(name, type, shape, offset, type.rowBytes(elements));
  }

  private GgufType type(String name) {
    try {
      return GgufType.of(int32(name));
    } catch (GgufException failure) {
      throw new GgufException("tensor %s %s".formatted(name, failure.getMessage()), failure);
    }
  }

  // Values

  /** A value of a type, by the format's numbers. */
  private GgufValue value(String key, int type) {
    return switch (type) {
      case 0, 1, 2, 3, 4, 5, 10, 11 -> new Whole(whole(key, type));
      case 6, 12 -> new Real(real(key, type));
      case 7 -> new Flag(flag(key));
      case 8 -> new Text(text(key));
      case 9 -> array(key);
      default ->
          throw new GgufException(
              "key %s has a value of type %s, which the format does not have"
                  .formatted(key, Integer.toUnsignedString(type)));
    };
  }

  private GgufValue array(String key) {
    int type = int32(key);
    int least =
        switch (type) {
          case 0, 1, 7 -> 1;
          case 2, 3 -> 2;
          case 4, 5, 6 -> 4;
          case 8, 10, 11, 12 -> 8;
          case 9 ->
              throw new GgufException(
                  "key %s has an array of arrays, which no known model has".formatted(key));
          default ->
              throw new GgufException(
                  "key %s has an array of type %s, which the format does not have"
                      .formatted(key, Integer.toUnsignedString(type)));
        };
    long counted = count("elements of " + key, least);
    if (counted > MAX_ELEMENTS) {
      throw new GgufException(
          "key %s has %d elements; no known model has more than %d"
              .formatted(key, counted, MAX_ELEMENTS));
    }
    int count = (int) counted;
    return switch (type) {
      case 6, 12 -> new Reals(list(count, () -> real(key, type)));
      case 7 -> new Flags(list(count, () -> flag(key)));
      case 8 -> new Texts(list(count, () -> text(key)));
      default -> new Wholes(list(count, () -> whole(key, type)));
    };
  }

  private static <T> List<T> list(int count, Supplier<T> next) {
    List<T> values = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      values.add(next.get());
    }
    return values;
  }

  private long whole(String key, int type) {
    return switch (type) {
      case 0 -> file.get(ValueLayout.JAVA_BYTE, take(1, key)) & 0xff;
      case 1 -> file.get(ValueLayout.JAVA_BYTE, take(1, key));
      case 2 -> file.get(SHORT, take(2, key)) & 0xffff;
      case 3 -> file.get(SHORT, take(2, key));
      case 4 -> file.get(INT, take(4, key)) & 0xffff_ffffL;
      case 5 -> file.get(INT, take(4, key));
      default -> int64(key);
    };
  }

  private double real(String key, int type) {
    return type == 6 ? Float.intBitsToFloat(int32(key)) : Double.longBitsToDouble(int64(key));
  }

  private boolean flag(String key) {
    byte value = file.get(ValueLayout.JAVA_BYTE, take(1, key));
    if (value != 0 && value != 1) {
      throw new GgufException("key %s: %d is neither true nor false".formatted(key, value));
    }
    return value == 1;
  }

  private String name(String what) {
    String name = text(what);
    if (name.isEmpty() || name.length() > MAX_NAME_BYTES) {
      throw new GgufException("%s has %d characters".formatted(what, name.length()));
    }
    return name;
  }

  private String text(String what) {
    long length = int64(what);
    if (length < 0 || length > size - at || length > Integer.MAX_VALUE - 8) {
      throw new GgufException(
          "%s: a text of %s bytes ends beyond the file's %d bytes; the file is truncated"
              .formatted(what, Long.toUnsignedString(length), size));
    }
    MemorySegment bytes = file.asSlice(take(length, what), length);
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(bytes.asByteBuffer()).toString();
    } catch (CharacterCodingException failure) {
      throw new GgufException("%s: a text is not UTF-8".formatted(what), failure);
    }
  }

  /** A number of things of which each takes a few bytes at least. */
  private long count(String what, int leastBytes) {
    long count = int64("the number of " + what);
    if (count < 0 || count > (size - at) / leastBytes) {
      throw new GgufException(
          "%s %s are not possible in a file of %d bytes; it is truncated or damaged"
              .formatted(Long.toUnsignedString(count), what, size));
    }
    return count;
  }

  private int int32(String what) {
    return file.get(INT, take(4, what));
  }

  private long int64(String what) {
    return file.get(LONG, take(8, what));
  }

  /** The place of the next bytes, which are behind one afterwards. */
  private long take(long bytes, String what) {
    if (bytes > size - at) {
      throw new GgufException(
          "the file's %d bytes end at %s; it is truncated".formatted(size, what));
    }
    long from = at;
    at += bytes;
    return from;
  }
}
