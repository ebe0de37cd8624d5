package org.eellm.chat;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Bounds on a template's work and memory. Whoever writes one may mean harm, and Jinjava bounds most
 * results only once they are there.
 */
final class TemplateBounds {
  /** Messages of a chat: each costs the template time, however short it is. */
  static final int MAX_MESSAGES = 2048;

  /** Characters of a chat; a request has half of them. */
  static final long MAX_LENGTH = 1 << 22;

  /** Elements of a list or dictionary that a template keeps, and of those within it. */
  static final int MAX_ELEMENTS = 250_000;

  /** The name under which the context of a text has its work so far, an {@link AtomicLong}. */
  static final String WORK = "work so far";

  /** Characters that are read or made, all together. */
  private static final long MAX_WORK = 1 << 28;

  /** The cost of a loop's iteration beside them, in characters. */
  private static final long ITERATION = 256;

  /** An element of a list that is read costs a part of a character: most reads take one of them. */
  private static final long ELEMENTS = 64;

  private static final int MAX_DIGITS = 1000;

  private TemplateBounds() {}

  /** An error, for Jinjava goes on after exceptions. */
  static final class ExceededError extends Error {}

  /** Counts a loop's iterations. */
  static void countIterations(int iterations) {
    add(ITERATION * Math.max(iterations, 1));
  }

  /** Counts what is read of a variable. */
  static void countRead(@Nullable Object value) {
    switch (value) {
      case CharSequence text -> add(text.length());
      case Collection<?> elements -> add(elements.size() / ELEMENTS);
      case null, default -> {}
    }
  }

  private static void add(long work) {
    JinjavaInterpreter interpreter = JinjavaInterpreter.getCurrent();
    if (interpreter != null
        && interpreter.getContext().get(WORK) instanceof AtomicLong sum
        && sum.addAndGet(work) > MAX_WORK) {
      throw new ExceededError();
    }
  }

  /** Refuses chats that are too long to be rendered. */
  static void requireFew(List<ChatMessage> messages) {
    if (messages.size() > MAX_MESSAGES) {
      throw ChatTemplateException.ofMessages(
          "messages",
          "%d are more than the %d of a chat; leave some out"
              .formatted(messages.size(), MAX_MESSAGES));
    }
    long length = messages.stream().mapToLong(TemplateBounds::length).sum();
    if (length > MAX_LENGTH) {
      throw ChatTemplateException.ofMessages(
          "messages",
          "%d characters are more than the %d of a chat; shorten them"
              .formatted(length, MAX_LENGTH));
    }
  }

  /** With arguments of calls as templates write them, with a blank behind each sign at most. */
  private static long length(ChatMessage message) {
    return message.content().length()
        + message.calls().stream().mapToLong(call -> 2L * call.arguments().length()).sum();
  }

  /** Counts a text of so many characters that is to be made, and refuses one that is too long. */
  static void requireLength(double length) {
    if (length > MAX_LENGTH) {
      throw new ExceededError();
    }
    add((long) length);
  }

  /** Refuses to compute with numbers of so many digits. */
  static void requireDigits(double digits) {
    if (digits > MAX_DIGITS) {
      throw new ExceededError();
    }
  }

  /** Refuses to make a text by replacing. */
  static void requireReplaced(String text, String old, String with) {
    int step = Math.max(1, old.length());
    double found = 0;
    for (int at = text.indexOf(old); at >= 0 && at < text.length(); at = text.indexOf(old, at)) {
      found++;
      at += step;
    }
    requireLength(text.length() + found * with.length());
  }

  /** Refuses to keep a value that has too many elements, however deep. */
  static void requireElements(Object value) {
    if (count(value, 0) > MAX_ELEMENTS) {
      throw new ExceededError();
    }
  }

  /** Adds up no further than it has to. */
  private static int count(@Nullable Object value, int before) {
    Collection<?> elements =
        switch (value) {
          case Collection<?> collection -> collection;
          case Map<?, ?> map -> map.values();
          case null, default -> List.of();
        };
    int sum = before + 1;
    for (Object element : elements) {
      if (sum > MAX_ELEMENTS) {
        break;
      }
      sum = count(element, sum);
    }
    return sum;
  }
}
