package org.eellm.decode.token;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

final class TextStreamTest {

  /** Tokens that stand for the pieces of a list. */
  private static Detokenizer pieces(List<String> pieces, String rest) {
    return new Detokenizer() {
      @Override
      public String append(int id) {
        return pieces.get(id);
      }

      @Override
      public String finish() {
        return rest;
      }
    };
  }

  private static List<String> stream(TextStream text, int tokens) {
    List<String> parts = new ArrayList<>();
    for (int id = 0; id < tokens && !text.stopped(); id++) {
      parts.add(text.append(id));
    }
    parts.add(text.finish());
    return parts;
  }

  @Test
  void append_stopStringBeforeTheLeastLength_isText() {
    TextStream text = new TextStream(pieces(List.of("a;", "b;c", ";d", "e"), ""), List.of(";"), 3);
    assertThat(text.append(0)).isEqualTo("a;");
    assertThat(text.append(1)).isEqualTo("b;c");
    assertThat(text.stopped()).isFalse();
    assertThat(text.append(2)).isEmpty();
    assertThat(text.stopped()).isTrue();
  }

  @Test
  void append_withoutStops_handsOnEveryPieceAtOnce() {
    TextStream text = new TextStream(pieces(List.of("one", " two", "", " three"), "!"), List.of());

    assertThat(stream(text, 4)).containsExactly("one", " two", "", " three", "!");
    assertThat(text.stopped()).isFalse();
  }

  @Test
  void append_stopWithinAPiece_cutsThePiece() {
    TextStream text = new TextStream(pieces(List.of("one. Two"), ""), List.of("."));

    assertThat(stream(text, 1)).containsExactly("one", "");
    assertThat(text.stopped()).isTrue();
  }

  @Test
  void append_stopAcrossPieces_holdsItsBeginningBack() {
    TextStream text =
        new TextStream(pieces(List.of("a\n", "\n", "User", ": b"), ""), List.of("\n\nUser:"));

    assertThat(stream(text, 4)).containsExactly("a", "", "", "", "");
    assertThat(text.stopped()).isTrue();
  }

  @Test
  void append_beginningThatTurnsOutHarmless_isHandedOnLater() {
    TextStream text =
        new TextStream(pieces(List.of("a\n", "\n", "Us", "ed"), ""), List.of("\n\nUser:"));

    assertThat(stream(text, 4)).containsExactly("a", "", "", "\n\nUsed", "");
    assertThat(text.stopped()).isFalse();
  }

  @Test
  void finish_withHeldBackBeginning_handsItOn() {
    TextStream text = new TextStream(pieces(List.of("aab"), ""), List.of("abc"));

    assertThat(stream(text, 1)).containsExactly("a", "ab");
  }

  @Test
  void append_overlappingBeginnings_findsTheStop() {
    TextStream text = new TextStream(pieces(List.of("aa", "ab", "x"), ""), List.of("aab"));

    assertThat(String.join("", stream(text, 3))).isEqualTo("a");
    assertThat(text.stopped()).isTrue();
  }

  @Test
  void append_severalStops_cutsAtTheFirstInTheText() {
    TextStream text = new TextStream(pieces(List.of("a;b,c"), ""), List.of(",", ";"));

    assertThat(stream(text, 1)).containsExactly("a", "");
  }

  /** Looking for the stop anew with every piece would take minutes. */
  @Test
  @Timeout(20)
  void append_aLongStopThatNearlyComes_isCheap() {
    String stop = "ab".repeat(20_000) + "!";
    List<String> pieces = Collections.nCopies(100_000, "ab");
    TextStream stream = new TextStream(pieces(pieces, ""), List.of(stop, "never"));

    List<String> parts = stream(stream, pieces.size());
    assertThat(parts.getLast()).hasSize(40_000);
    assertThat(String.join("", parts)).isEqualTo("ab".repeat(100_000));
    assertThat(stream.stopped()).isFalse();
  }

  @Test
  void append_randomTextsAndStops_cutBeforeTheStopThatIsCompleteFirst() {
    for (int seed = 0; seed < 500; seed++) {
      Random random = new Random(seed);
      List<String> pieces = Stream.generate(() -> word(random, 5)).limit(12).toList();
      List<String> stops =
          Stream.generate(() -> word(random, 4)).filter(w -> !w.isEmpty()).limit(2).toList();
      String text = String.join("", pieces);
      String expected = text;
      for (int end = 1; end <= text.length() && expected.equals(text); end++) {
        String beginning = text.substring(0, end);
        int longest =
            stops.stream().filter(beginning::endsWith).mapToInt(String::length).max().orElse(0);
        expected = longest > 0 ? text.substring(0, end - longest) : expected;
      }

      TextStream stream = new TextStream(pieces(pieces, ""), stops);
      assertThat(String.join("", stream(stream, pieces.size())))
          .as("%s without %s", pieces, stops)
          .isEqualTo(expected);
    }
  }

  private static String word(Random random, int most) {
    return random
        .ints(random.nextInt(most + 1), 'a', 'c')
        .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
        .toString();
  }

  @Test
  void constructor_emptyStop_isRefused() {
    assertThatThrownBy(() -> new TextStream(pieces(List.of(), ""), List.of("")))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("stop: is empty");
  }
}
