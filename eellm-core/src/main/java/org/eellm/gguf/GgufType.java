package org.eellm.gguf;

import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/** The number formats of tensors that are read, by llama.cpp's numbers. */
public enum GgufType {
  F32(0, 1, 4),
  F16(1, 1, 2),
  BF16(30, 1, 2),
  /** Groups of 32: a float16 scale and 16 bytes of 4-bit numbers less 8. */
  Q4_0(2, 32, 18),
  /** As {@link #Q4_0}, but added to a float16 minimum in place of less 8. */
  Q4_1(3, 32, 20),
  /** Groups of 32: a float16 scale, the fifth bits, 16 bytes of the other four; less 16. */
  Q5_0(6, 32, 22),
  /** As {@link #Q5_0}, but added to a float16 minimum in place of less 16. */
  Q5_1(7, 32, 24),
  /** Groups of 32: a float16 scale and 32 signed bytes. */
  Q8_0(8, 32, 34),
  /** Groups of 256: eight parts of 32 with scales and minima of 6 bits, 4-bit numbers. */
  Q4_K(12, 256, 144),
  /** As {@link #Q4_K} with 5-bit numbers. */
  Q5_K(13, 256, 176),
  /** Groups of 256: sixteen parts of 16 with scales of 8 bits, 6-bit numbers less 32. */
  Q6_K(14, 256, 210);

  /** llama.cpp's names of formats that are not read, for messages. */
  private static final Map<Integer, String> OTHERS =
      Map.ofEntries(
          Map.entry(9, "Q8_1"),
          Map.entry(10, "Q2_K"),
          Map.entry(11, "Q3_K"),
          Map.entry(15, "Q8_K"),
          Map.entry(16, "IQ2_XXS"),
          Map.entry(17, "IQ2_XS"),
          Map.entry(18, "IQ3_XXS"),
          Map.entry(19, "IQ1_S"),
          Map.entry(20, "IQ4_NL"),
          Map.entry(21, "IQ3_S"),
          Map.entry(22, "IQ2_S"),
          Map.entry(23, "IQ4_XS"),
          Map.entry(24, "I8"),
          Map.entry(25, "I16"),
          Map.entry(26, "I32"),
          Map.entry(27, "I64"),
          Map.entry(28, "F64"),
          Map.entry(29, "IQ1_M"),
          Map.entry(34, "TQ1_0"),
          Map.entry(35, "TQ2_0"),
          Map.entry(39, "MXFP4"));

  private final int number;
  private final int group;
  private final int groupBytes;

  GgufType(int number, int group, int groupBytes) {
    this.number = number;
    this.group = group;
    this.groupBytes = groupBytes;
  }

  /** How many numbers of a row are stored together; 1 where each stands for itself. */
  public int group() {
    return group;
  }

  /** Bytes of a group. */
  public int groupBytes() {
    return groupBytes;
  }

  /** Whether numbers are stored in groups with scales. */
  public boolean quantised() {
    return group > 1;
  }

  /** Bytes of a row, which is of whole groups. */
  public long rowBytes(long columns) {
    return columns / group * groupBytes;
  }

  static GgufType of(int number) {
    Optional<GgufType> known =
        Arrays.stream(values()).filter(type -> type.number == number).findAny();
    return known.orElseThrow(
        () ->
            new GgufException(
                "has type %s, which is not read; %s are"
                    .formatted(
                        OTHERS.getOrDefault(number, Integer.toUnsignedString(number)),
                        Arrays.stream(values())
                            .map(Enum::name)
                            .collect(Collectors.joining(", ")))));
  }
}
