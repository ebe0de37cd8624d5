package org.eellm.config;

import com.fasterxml.jackson.core.JsonProcessingException;

/** Says in words for people what is wrong with JSON. */
public final class JsonErrors {
  private static final int MAX_LENGTH = 200;

  private JsonErrors() {}

  /** The parser's first line, without what it says to programmers. */
  public static String reason(JsonProcessingException failure) {
    String line =
        failure
            .getOriginalMessage()
            .lines()
            .findFirst()
            .orElse("malformed")
            .replaceAll(" \\((start marker|for \\w+ starting) at .*|, from `[^`]*`", "")
            .replaceAll("\\p{Cntrl}", "?");
    return line.length() <= MAX_LENGTH ? line : line.substring(0, MAX_LENGTH - 3) + "...";
  }
}
