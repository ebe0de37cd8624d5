package org.eellm.checkpoint.safetensors;

import java.lang.foreign.MemorySegment;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** SHA-256 of memory of any size. */
public final class Checksums {
  private static final long PIECE = 1 << 26;

  private Checksums() {}

  public static MessageDigest start() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException impossible) {
      throw new IllegalStateException("every Java has SHA-256", impossible);
    }
  }

  public static void add(MessageDigest digest, MemorySegment bytes) {
    for (long at = 0; at < bytes.byteSize(); at += PIECE) {
      digest.update(bytes.asSlice(at, Math.min(PIECE, bytes.byteSize() - at)).asByteBuffer());
    }
  }

  public static String end(MessageDigest digest) {
    return HexFormat.of().formatHex(digest.digest());
  }

  public static String of(MemorySegment bytes) {
    MessageDigest digest = start();
    add(digest, bytes);
    return end(digest);
  }
}
