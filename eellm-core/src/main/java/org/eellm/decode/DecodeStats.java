package org.eellm.decode;

import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/**
 * Where the time of decoding went.
 *
 * @param seconds from the first step to the last, prompts among them
 * @param tokensPerSecond of all texts together
 * @param firstTokenSeconds from the moment a text is scheduled to its first token, on average
 * @param rowsPerPass rows that pass a layer at once, on average; this and what follows is absent
 *     where libtorch computes
 * @param weightBytes of the weights that blocks have passed
 * @param readBytesPerSecond the rate at which the same threads read the same weights
 * @param shareOfReadRate the weights' bytes a second, as a part of that
 * @param parts which together are all of the time
 */
public record DecodeStats(
    int tokens,
    double seconds,
    double tokensPerSecond,
    double firstTokenSeconds,
    OptionalDouble rowsPerPass,
    OptionalLong weightBytes,
    OptionalDouble readBytesPerSecond,
    OptionalDouble shareOfReadRate,
    List<Part> parts) {
  /** The part of policies, penalties and samplers. */
  public static final String SAMPLING = "policies and sampling";

  /** The part of listeners, which make and show texts. */
  public static final String LISTENERS = "listeners";

  /** The part that no other tells; where libtorch computes, passes are in it. */
  public static final String REST = "rest";

  /**
   * A part of the time.
   *
   * @param microseconds a token
   * @param share of all
   */
  public record Part(String name, double microseconds, double share) {}

  public DecodeStats {
    parts = List.copyOf(parts);
  }
}
