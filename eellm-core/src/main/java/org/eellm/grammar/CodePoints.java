package org.eellm.grammar;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * A set of characters, as ranges that ascend and do not touch. Surrogates, which are no characters,
 * never belong to it.
 */
record CodePoints(List<Range> ranges) {
  /** From one character to another, both included. */
  record Range(int first, int last) {}

  private static final int FIRST_SURROGATE = 0xD800;
  private static final int LAST_SURROGATE = 0xDFFF;

  static final CodePoints ALL = of(0, Character.MAX_CODE_POINT);

  CodePoints {
    ranges = List.copyOf(ranges);
  }

  static CodePoints of(int first, int last) {
    return union(List.of(new Range(first, last)));
  }

  static CodePoints of(String characters) {
    return union(characters.codePoints().mapToObj(each -> new Range(each, each)).toList());
  }

  static CodePoints union(List<Range> parts) {
    List<Range> sorted = new ArrayList<>();
    for (Range part : parts) {
      addNonEmpty(sorted, part.first(), Math.min(part.last(), FIRST_SURROGATE - 1));
      addNonEmpty(sorted, Math.max(part.first(), LAST_SURROGATE + 1), part.last());
    }
    sorted.sort(Comparator.comparingInt(Range::first));
    List<Range> merged = new ArrayList<>();
    for (Range next : sorted) {
      if (!merged.isEmpty() && next.first() <= merged.getLast().last() + 1) {
        Range before = merged.removeLast();
        merged.add(new Range(before.first(), Math.max(before.last(), next.last())));
      } else {
        merged.add(next);
      }
    }
    return new CodePoints(merged);
  }

  private static void addNonEmpty(List<Range> ranges, int first, int last) {
    if (first <= last) {
      ranges.add(new Range(first, last));
    }
  }

  CodePoints or(CodePoints other) {
    List<Range> both = new ArrayList<>(ranges);
    both.addAll(other.ranges);
    return union(both);
  }

  CodePoints not() {
    List<Range> gaps = new ArrayList<>();
    int next = 0;
    for (Range range : ranges) {
      addNonEmpty(gaps, next, range.first() - 1);
      next = range.last() + 1;
    }
    addNonEmpty(gaps, next, Character.MAX_CODE_POINT);
    return union(gaps);
  }

  CodePoints without(CodePoints other) {
    return not().or(other).not();
  }

  Language utf8(Languages all) {
    List<Language> alternatives = new ArrayList<>();
    for (Range range : ranges) {
      int from = range.first();
      for (int most : new int[] {0x7F, 0x7FF, 0xFFFF, Character.MAX_CODE_POINT}) {
        if (from <= most && from <= range.last()) {
          int last = Math.min(most, range.last());
          int length = most == 0x7F ? 1 : most == 0x7FF ? 2 : most == 0xFFFF ? 3 : 4;
          alternatives.add(utf8(all, from, last, length));
          from = last + 1;
        }
      }
    }
    return all.choice(alternatives);
  }

  /** Characters whose UTF-8 has so many bytes: by the first byte, then the rest of it. */
  private static Language utf8(Languages all, int first, int last, int length) {
    if (length == 1) {
      return all.oneOf(ByteSet.range(first, last));
    }
    int lead = length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0;
    return bytes(all, first, last, 6 * (length - 1), lead);
  }

  private static Language bytes(Languages all, int first, int last, int shift, int mark) {
    int low = first >> shift;
    int high = last >> shift;
    if (shift == 0) {
      return all.oneOf(ByteSet.range(mark | low, mark | high));
    }
    int rest = (1 << shift) - 1;
    List<Language> alternatives = new ArrayList<>();
    int from = low;
    if ((first & rest) != 0) {
      int end = low == high ? last & rest : rest;
      alternatives.add(leading(all, mark, low, low, tail(all, first & rest, end, shift)));
      from = low + 1;
    }
    int to = high;
    if (from <= high && (last & rest) != rest) {
      alternatives.add(leading(all, mark, high, high, tail(all, 0, last & rest, shift)));
      to = high - 1;
    }
    if (from <= to) {
      alternatives.add(leading(all, mark, from, to, tail(all, 0, rest, shift)));
    }
    return all.choice(alternatives);
  }

  private static Language leading(Languages all, int mark, int from, int to, Language tail) {
    return all.sequence(all.oneOf(ByteSet.range(mark | from, mark | to)), tail);
  }

  private static Language tail(Languages all, int first, int last, int shift) {
    return bytes(all, first, last, shift - 6, 0x80);
  }
}
