package org.eellm.chat.tool;

import java.util.random.RandomGenerator;

/**
 * A call of a tool.
 *
 * @param id by which the tool's result names it; empty if it has none
 * @param arguments a JSON object
 */
public record ToolCall(String id, String name, String arguments) {
  private static final String LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";

  /** A new id: nine letters and digits, for there are templates that take no others. */
  public static String newId() {
    StringBuilder id = new StringBuilder("call");
    while (id.length() < 9) {
      id.append(LETTERS.charAt(RandomGenerator.getDefault().nextInt(LETTERS.length())));
    }
    return id.toString();
  }
}
