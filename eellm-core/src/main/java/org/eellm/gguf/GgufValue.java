package org.eellm.gguf;

import java.util.List;
import org.eellm.file.Shown;

/** A value of a GGUF file's header. Whole numbers of all widths are one kind, and so are reals. */
public sealed interface GgufValue {
  /** A whole number; unsigned ones beyond a long's reach are negative here. */
  record Whole(long value) implements GgufValue {}

  record Real(double value) implements GgufValue {}

  record Flag(boolean value) implements GgufValue {}

  record Text(String value) implements GgufValue {}

  record Wholes(List<Long> values) implements GgufValue {
    public Wholes {
      values = List.copyOf(values);
    }
  }

  record Reals(List<Double> values) implements GgufValue {
    public Reals {
      values = List.copyOf(values);
    }
  }

  record Flags(List<Boolean> values) implements GgufValue {
    public Flags {
      values = List.copyOf(values);
    }
  }

  record Texts(List<String> values) implements GgufValue {
    public Texts {
      values = List.copyOf(values);
    }
  }

  /** As messages show it, shortened. */
  default String shown() {
    return switch (this) {
      case Whole(long value) -> Long.toString(value);
      case Real(double value) -> Double.toString(value);
      case Flag(boolean value) -> Boolean.toString(value);
      case Text(String value) -> Shown.of(value);
      case Wholes(List<Long> values) -> "an array of " + values.size() + " whole numbers";
      case Reals(List<Double> values) -> "an array of " + values.size() + " numbers";
      case Flags(List<Boolean> values) -> "an array of " + values.size() + " flags";
      case Texts(List<String> values) -> "an array of " + values.size() + " texts";
    };
  }
}
