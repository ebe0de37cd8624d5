package org.eellm.data;

/**
 * Tokens of which the loss counts some.
 *
 * @param counted of each token, whether it counts as a target
 */
@SuppressWarnings("ArrayRecordComponent") // compared by nobody
public record CountedTokens(int[] ids, boolean[] counted) {
  public CountedTokens {
    if (ids.length != counted.length) {
      throw new IllegalArgumentException(
          "%d tokens with %d marks".formatted(ids.length, counted.length));
    }
  }
}
