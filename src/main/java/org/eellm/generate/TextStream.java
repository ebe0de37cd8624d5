package org.eellm.generate;

import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;

/**
 * One sequence's text as its tokens come, cut off before the first stop string. What may be the
 * beginning of a stop string is held back until the tokens after it tell.
 */
public final class TextStream {
  private final Detokenizer detokenizer;
  private final List<String> stops;
  private final StringBuilder held = new StringBuilder();
  private boolean stopped;

  /**
   * @param stops texts that end the sequence and are no part of it; none may be empty
   */
  public TextStream(Detokenizer detokenizer, List<String> stops) {
    this.detokenizer = detokenizer;
    this.stops = List.copyOf(stops);
    if (stops.contains("")) {
      throw new ConfigException("stop: is empty; give the text at which to stop");
    }
  }

  /** The text that is certain once this token is there; often empty. */
  public String append(int id) {
    if (stopped) {
      return "";
    }
    held.append(detokenizer.append(id));
    return cutAtStop() ? release(held.length()) : release(held.length() - beginningOfStop());
  }

  /** The rest, when no token follows. */
  public String finish() {
    if (stopped) {
      return "";
    }
    held.append(detokenizer.finish());
    cutAtStop();
    return release(held.length());
  }

  /** Whether a stop string has come. */
  public boolean stopped() {
    return stopped;
  }

  private boolean cutAtStop() {
    OptionalInt first = stops.stream().mapToInt(held::indexOf).filter(index -> index >= 0).min();
    first.ifPresent(held::setLength);
    stopped = first.isPresent();
    return stopped;
  }

  /** Length of the longest end of the held text that a stop string begins with. */
  private int beginningOfStop() {
    return stops.stream()
        .flatMapToInt(
            stop ->
                IntStream.range(1, Math.min(stop.length(), held.length() + 1))
                    .filter(n -> stop.startsWith(held.substring(held.length() - n))))
        .max()
        .orElse(0);
  }

  private String release(int length) {
    String text = held.substring(0, length);
    held.delete(0, length);
    return text;
  }
}
