package org.eellm.decode.token;

import java.util.List;
import org.eellm.config.SettingException;

/**
 * One sequence's text as its tokens come, cut off before the first stop string. What may be the
 * beginning of a stop string is held back until the tokens after it tell.
 */
public final class TextStream {
  private final Detokenizer detokenizer;
  private final List<Match> stops;
  private final StringBuilder held = new StringBuilder();
  private final int least;
  private int count;
  private boolean stopped;

  /**
   * @param stops texts that end the sequence and are no part of it; none may be empty
   */
  public TextStream(Detokenizer detokenizer, List<String> stops) {
    this(detokenizer, stops, 0);
  }

  /**
   * A stream for a sequence of a least length.
   *
   * @param least tokens that the sequence has at least: stop strings that are complete before are
   *     part of it
   */
  public TextStream(Detokenizer detokenizer, List<String> stops, int least) {
    this.detokenizer = detokenizer;
    this.least = least;
    this.stops = stops.stream().map(Match::new).toList();
    if (stops.contains("")) {
      throw new SettingException("stop", "is empty; give the text at which to stop");
    }
  }

  /** The text that is certain once this token is there; often empty. */
  public String append(int id) {
    if (stopped) {
      return "";
    }
    count++;
    hold(detokenizer.append(id));
    return release(held.length() - stops.stream().mapToInt(Match::length).max().orElse(0));
  }

  /** The rest, when no token follows. */
  public String finish() {
    if (stopped) {
      return "";
    }
    hold(detokenizer.finish());
    return release(held.length());
  }

  /** Whether a stop string has come. */
  public boolean stopped() {
    return stopped;
  }

  /** Takes a piece in, up to the first stop string that becomes complete. */
  private void hold(String piece) {
    for (int i = 0; i < piece.length() && !stopped; i++) {
      held.append(piece.charAt(i));
      int longest = 0;
      for (Match stop : stops) {
        if (stop.append(piece.charAt(i)) && count < least) {
          stop.clear();
        } else if (stop.isComplete()) {
          longest = Math.max(longest, stop.text.length());
        }
      }
      if (longest > 0) {
        held.setLength(held.length() - longest);
        stops.forEach(Match::clear);
        stopped = true;
      }
    }
  }

  private String release(int length) {
    String text = held.substring(0, length);
    held.delete(0, length);
    return text;
  }

  /** How much of a stop string the text ends with, by Knuth, Morris and Pratt. */
  private static final class Match {
    private final String text;
    private final int[] shorter; // for each length, the next longest that ends alike
    private int length;

    Match(String text) {
      this.text = text;
      shorter = new int[text.length() + 1];
      for (int end = 2; end <= text.length(); end++) {
        shorter[end] = next(shorter[end - 1], text.charAt(end - 1));
      }
    }

    private int next(int from, char character) {
      int matched = from;
      while (matched > 0 && text.charAt(matched) != character) {
        matched = shorter[matched];
      }
      return text.charAt(matched) == character ? matched + 1 : 0;
    }

    /** Whether the string is complete with this character. */
    boolean append(char character) {
      length = next(length, character);
      return isComplete();
    }

    boolean isComplete() {
      return length == text.length();
    }

    int length() {
      return length;
    }

    void clear() {
      length = 0;
    }
  }
}
