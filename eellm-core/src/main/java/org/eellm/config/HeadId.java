package org.eellm.config;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import java.io.Serializable;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Which head of a model: the exit after a layer, or the final one. Its text is its name in metrics,
 * JSON and flags: {@code exit_6}, {@code draft_head} or {@code final}. Heads compare by depth, the
 * final one last.
 */
public sealed interface HeadId extends Comparable<HeadId>, Serializable {

  /** The head behind the last layer. */
  HeadId FINAL = new Final();

  /** The layer that drafts from what the final head reads. */
  HeadId DRAFT_HEAD = new DraftHead();

  /**
   * An early exit.
   *
   * @param layer the layer, from 1, whose output it reads
   */
  record Exit(int layer) implements HeadId {
    @Override
    public String toString() {
      return "exit_" + layer;
    }
  }

  /** The final head: {@link HeadId#FINAL}. */
  record Final() implements HeadId {
    @Override
    public String toString() {
      return "final";
    }
  }

  /** The draft head: {@link HeadId#DRAFT_HEAD}. */
  record DraftHead() implements HeadId {
    @Override
    public String toString() {
      return "draft_head";
    }
  }

  /** The exit after a layer. */
  static Exit exit(int layer) {
    return new Exit(layer);
  }

  /**
   * All heads of a model, shallowest first.
   *
   * @param exits the layers that have one, ascending
   */
  static List<HeadId> all(List<Integer> exits) {
    return Stream.concat(exits.stream().map(HeadId::exit), Stream.of(FINAL)).toList();
  }

  /**
   * The head of a name.
   *
   * @throws IllegalArgumentException if it is none of {@code exit_6}, {@code draft_head} and {@code
   *     final}
   */
  @JsonCreator
  static HeadId parse(String name) {
    Matcher exit = ExitName.PATTERN.matcher(name);
    if (exit.matches()) {
      return exit(Integer.parseInt(exit.group(1)));
    }
    if (name.equals(FINAL.toString())) {
      return FINAL;
    }
    if (name.equals(DRAFT_HEAD.toString())) {
      return DRAFT_HEAD;
    }
    throw new IllegalArgumentException(
        "'%s' names no head; use final, or exit_6 for the exit after layer 6".formatted(name));
  }

  /** {@code exit_6}, {@code draft_head} or {@code final}. */
  @Override
  @JsonValue
  String toString();

  /** Whether it is an exit's. */
  default boolean isExit() {
    return this instanceof Exit;
  }

  /** The name for people: {@code exit 6}, {@code draft head} or {@code final}. */
  default String label() {
    return switch (this) {
      case Exit(int layer) -> "exit " + layer;
      case DraftHead _ -> "draft head";
      case Final _ -> toString();
    };
  }

  @Override
  default int compareTo(HeadId other) {
    return Integer.compare(depth(this), depth(other));
  }

  private static int depth(HeadId head) {
    return switch (head) {
      case Exit(int layer) -> layer;
      case DraftHead _ -> Integer.MAX_VALUE - 1;
      case Final _ -> Integer.MAX_VALUE;
    };
  }

  /** How exits are written; an interface's own constants are public. */
  final class ExitName {
    private static final Pattern PATTERN = Pattern.compile("exit_([1-9][0-9]{0,8})");

    private ExitName() {}
  }
}
