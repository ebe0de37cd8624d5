package org.eellm.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.List;
import org.eellm.checkpoint.safetensors.Checksums;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.model.Decoder;

/**
 * Tells trunks apart: SHA-256 over name, shape and every value of every parameter but the exits',
 * rounded to bfloat16, so that a copy in another number format is the same trunk. Each file is read
 * once, a piece at a time, tensors side by side.
 */
public final class TrunkChecksum {
  /** Values that are rounded at a time. */
  private static final int PIECE = 1 << 12;

  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfDouble DOUBLE =
      ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private TrunkChecksum() {}

  /** The checksum of the trunk among a folder's weights, which have all of its parameters. */
  static String of(WeightFiles weights, ModelConfig model) {
    List<String> tensors =
        Decoder.parameterNames(new Architecture(model, ExitLayout.none())).stream()
            .sorted()
            .toList()
            .parallelStream()
            .map(name -> name + of(weights.folder(), name, weights.tensor(name)))
            .toList();
    MessageDigest digest = Checksums.start();
    tensors.forEach(tensor -> digest.update(tensor.getBytes(StandardCharsets.UTF_8)));
    return Checksums.end(digest);
  }

  /** Shape and checksum of a tensor's values. */
  private static String of(Path folder, String name, StoredTensor stored) {
    try (Arena arena = Arena.ofShared()) {
      return of(stored, values(folder, name, stored, stored.bytes(arena)));
    }
  }

  private static String of(StoredTensor stored, Values values) {
    long count = stored.shape().stream().reduce(1L, Math::multiplyExact);
    MessageDigest digest = Checksums.start();
    byte[] piece = new byte[2 * PIECE];
    for (long first = 0; first < count; first += PIECE) {
      int length = (int) Math.min(PIECE, count - first);
      for (int i = 0; i < length; i++) {
        int rounded = bfloat16(values.at(first + i));
        piece[2 * i] = (byte) rounded;
        piece[2 * i + 1] = (byte) (rounded >> 8);
      }
      digest.update(piece, 0, 2 * length);
    }
    return stored.shape() + Checksums.end(digest);
  }

  /** A tensor's values by their place. */
  private interface Values {
    float at(long index);
  }

  private static Values values(Path folder, String name, StoredTensor stored, MemorySegment bytes) {
    return switch (stored.type()) {
      case F64 -> i -> (float) bytes.get(DOUBLE, Double.BYTES * i);
      case F32 -> i -> bytes.get(FLOAT, Float.BYTES * i);
      case F16 -> i -> Float.float16ToFloat(bytes.get(SHORT, Short.BYTES * i));
      case BF16 -> i -> Float.intBitsToFloat(bytes.get(SHORT, Short.BYTES * i) << 16);
      default -> throw stored.noWeights(folder, name);
    };
  }

  /** The nearest bfloat16, the even one of two; what is no number is one and the same. */
  private static int bfloat16(float value) {
    int bits = Float.floatToIntBits(value);
    return Float.isNaN(value) ? bits >>> 16 : (bits + 0x7fff + (bits >>> 16 & 1)) >>> 16;
  }
}
