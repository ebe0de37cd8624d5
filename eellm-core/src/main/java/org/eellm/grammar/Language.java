package org.eellm.grammar;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A set of byte strings. What may follow a text is such a set again, the derivative by the text's
 * bytes (Brzozowski), so a language is also a state of the automaton that reads it. The same
 * operations on the same languages give the same object: see {@link Languages}.
 */
public final class Language {
  private static final int CHUNK_BITS = 6;
  private static final int CHUNK = 1 << CHUNK_BITS;

  sealed interface Form {
    record Nothing() implements Form {}

    record Empty() implements Form {}

    /** The texts of one byte. */
    record OneByte(ByteSet bytes) implements Form {}

    /** A text of one behind one of the other. */
    record Sequence(Language first, Language rest) implements Form {}

    /** The texts of any. */
    record Choice(List<Language> alternatives) implements Form {}

    /**
     * Texts behind each other.
     *
     * @param most {@link Languages#UNBOUNDED} for any number
     */
    record Repetition(Language part, int least, int most) implements Form {}

    /** The language of a rule, which may name itself. */
    record Rule(int number) implements Form {}
  }

  final Form form;
  private final Languages all;
  private final @Nullable Language[] @Nullable [] after =
      new Language[256 / CHUNK][]; // by byte, if known
  private @Nullable Boolean nullable;
  private @Nullable ByteSet first;

  Language(Form form, Languages all) {
    this.form = form;
    this.all = all;
  }

  public boolean isNothing() {
    return form instanceof Form.Nothing;
  }

  /** Whether the empty text belongs to it: what was read so far may be all. */
  public boolean mayEnd() {
    if (nullable == null) {
      nullable = all.mayEnd(this);
    }
    return nullable;
  }

  ByteSet first() {
    if (first == null) {
      first = all.first(this);
    }
    return first;
  }

  /** The byte that each of its texts begins with; -1 if they differ, or there may be none. */
  public int onlyByte() {
    return !mayEnd() && first().size() == 1 ? first().lowest() : -1;
  }

  /**
   * What may follow a byte that its texts begin with.
   *
   * @throws GrammarException if the automaton becomes too large
   */
  public Language after(byte next) {
    int place = Byte.toUnsignedInt(next);
    @Nullable Language[] chunk = after[place >> CHUNK_BITS];
    if (chunk == null) {
      chunk = new Language[CHUNK];
      after[place >> CHUNK_BITS] = chunk;
    }
    Language known = chunk[place & CHUNK - 1];
    if (known == null) {
      known = all.after(this, place);
      chunk[place & CHUNK - 1] = known;
    }
    return known;
  }

  public Language after(byte[] text) {
    Language rest = this;
    for (byte next : text) {
      rest = rest.after(next);
    }
    return rest;
  }

  /**
   * A language with the same beginnings of up to so many bytes, which is one for many lengths of
   * what repeats: what holds of its beginnings need not be found out for each.
   */
  public Language near(int bytes) {
    return all.near(this, bytes);
  }
}
