package org.eellm.gguf;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Writes GGUF files, also such as break the rules, from the format's description. */
public final class GgufFixture {
  private record Tensor(String name, List<Long> dimensions, int type, long offset, byte[] data) {}

  private final List<byte[]> keys = new ArrayList<>();
  private final List<Tensor> tensors = new ArrayList<>();
  private long dataEnd;
  private int version = 3;

  public GgufFixture version(int other) {
    version = other;
    return this;
  }

  public GgufFixture text(String key, String value) {
    return key(key, 8, string(value));
  }

  public GgufFixture number(String key, int value) {
    return key(key, 4, int32(value));
  }

  public GgufFixture real(String key, float value) {
    return key(key, 6, int32(Float.floatToIntBits(value)));
  }

  public GgufFixture flag(String key, boolean value) {
    return key(key, 7, new byte[] {(byte) (value ? 1 : 0)});
  }

  public GgufFixture texts(String key, List<String> values) {
    byte[][] parts = new byte[values.size() + 1][];
    parts[0] = join(int32(8), int64(values.size()));
    for (int i = 0; i < values.size(); i++) {
      parts[i + 1] = string(values.get(i));
    }
    return key(key, 9, join(parts));
  }

  public GgufFixture numbers(String key, List<Integer> values) {
    byte[][] parts = new byte[values.size() + 1][];
    parts[0] = join(int32(5), int64(values.size()));
    for (int i = 0; i < values.size(); i++) {
      parts[i + 1] = int32(values.get(i));
    }
    return key(key, 9, join(parts));
  }

  public GgufFixture reals(String key, List<Float> values) {
    byte[][] parts = new byte[values.size() + 1][];
    parts[0] = join(int32(6), int64(values.size()));
    for (int i = 0; i < values.size(); i++) {
      parts[i + 1] = int32(Float.floatToIntBits(values.get(i)));
    }
    return key(key, 9, join(parts));
  }

  /** A value of a type, by the format's numbers, whatever its bytes. */
  public GgufFixture key(String name, int type, byte[] value) {
    keys.add(join(string(name), int32(type), value));
    return this;
  }

  /**
   * A tensor behind the others.
   *
   * @param dimensions innermost first
   */
  public GgufFixture tensor(String name, List<Long> dimensions, int type, byte[] data) {
    long offset = (dataEnd + 31) / 32 * 32;
    return tensorAt(name, dimensions, type, offset, data);
  }

  /** A tensor that says it lies somewhere, though its data are behind the others. */
  public GgufFixture tensorAt(
      String name, List<Long> dimensions, int type, long offset, byte[] data) {
    tensors.add(new Tensor(name, dimensions, type, offset, data));
    dataEnd = (dataEnd + 31) / 32 * 32 + data.length;
    return this;
  }

  /** A float32 tensor of consecutive halves, from 0. */
  public GgufFixture floats(String name, Long... dimensions) {
    long count = 1;
    for (long length : dimensions) {
      count *= length;
    }
    ByteBuffer data = buffer((int) (4 * count));
    for (int i = 0; i < count; i++) {
      data.putFloat(i / 2f);
    }
    return tensor(name, List.of(dimensions), 0, data.array());
  }

  /** The whole file. */
  public byte[] bytes() {
    return bytes(tensors.size(), keys.size(), 32);
  }

  /** The same with counts that need not be right. */
  public byte[] bytes(long tensorCount, long keyCount, int alignment) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes("GGUF".getBytes(StandardCharsets.US_ASCII));
    out.writeBytes(int32(version));
    out.writeBytes(int64(tensorCount));
    out.writeBytes(int64(keyCount));
    keys.forEach(out::writeBytes);
    for (Tensor tensor : tensors) {
      out.writeBytes(string(tensor.name));
      out.writeBytes(int32(tensor.dimensions.size()));
      tensor.dimensions.forEach(length -> out.writeBytes(int64(length)));
      out.writeBytes(int32(tensor.type));
      out.writeBytes(int64(tensor.offset));
    }
    for (Tensor tensor : tensors) {
      while (out.size() % alignment != 0) {
        out.write(0);
      }
      out.writeBytes(tensor.data);
    }
    return out.toByteArray();
  }

  public Path write(Path path) throws IOException {
    return Files.write(path, bytes());
  }

  public static byte[] string(String value) {
    byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
    return join(int64(bytes.length), bytes);
  }

  public static byte[] int32(int value) {
    return buffer(4).putInt(value).array();
  }

  public static byte[] int64(long value) {
    return buffer(8).putLong(value).array();
  }

  public static byte[] join(byte[]... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      out.writeBytes(part);
    }
    return out.toByteArray();
  }

  static ByteBuffer buffer(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }
}
