package org.eellm.decode.sample;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.config.SettingException;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.token.Tokens;
import org.eellm.grammar.GrammarSource;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class TokenConstraintTest {
  private static Tokenizer tokenizer;

  @BeforeAll
  static void train(@TempDir Path folder) throws IOException {
    Path corpus = folder.resolve("corpus.txt");
    Files.writeString(
        corpus, "cat cats 10 100 1000 abcabc abab dogdog ab, abc, 10, 100\n".repeat(9));
    TextCorpus texts = TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT);
    tokenizer = BpeTrainer.train(texts, 290, 1, Progress.NONE);
  }

  private static TokenConstraint constraint(String pattern) {
    return new GrammarMasks(tokenizer)
        .constraint(new GrammarSource.Expression(pattern), Set.of(tokenizer.endOfDocument()));
  }

  private static Tokens tokens(String text) {
    Tokens tokens = new Tokens(List.of(0, 1), 100);
    for (int id : tokenizer.encode(text)) {
      tokens.append(id);
    }
    return tokens;
  }

  /** Java's own expressions tell of each token whether a match may begin so. */
  @ParameterizedTest
  @ValueSource(strings = {"", "a", "ab", "abc", "abab", "abcab", "ababab"})
  void apply_anyText_leavesTheTokensThatGoOnWithAMatch(String text) {
    Pattern pattern = Pattern.compile("(ab|abc|b){1,3}(, (10|100))?");
    float[] logits = new float[tokenizer.vocabSize()];
    Random random = new Random(3);
    for (int id = 0; id < logits.length; id++) {
      logits[id] = random.nextFloat();
    }
    float[] masked = logits.clone();

    constraint(pattern.pattern()).apply(masked, tokens(text));

    for (int id = 0; id < logits.length; id++) {
      Matcher matcher = pattern.matcher(text + tokenizer.decode(id));
      boolean allowed =
          id == tokenizer.endOfDocument()
              ? matcher.matches()
              : tokenizer.byteLength(id) > 0 && (matcher.matches() || matcher.hitEnd());
      assertThat(masked[id])
          .as("token %s after '%s'", tokenizer.piece(id), text)
          .isEqualTo(allowed ? logits[id] : Float.NEGATIVE_INFINITY);
    }
  }

  @Test
  void forced_whereOneContinuationIsLeft_isItsLongestToken() {
    TokenConstraint constraint = constraint("cats (100|abc)");
    Tokens tokens = new Tokens(List.of(0), 100);
    StringBuilder text = new StringBuilder();
    while (constraint.forced(tokens).isPresent()) {
      int id = constraint.forced(tokens).getAsInt();
      tokens.append(id);
      text.append(tokenizer.decode(id));
    }

    assertThat(text).hasToString("cats ");
    assertThat(tokens.size()).isLessThan(1 + "cats ".length());
    tokens.append(tokenizer.encode("1")[0]);
    assertThat(constraint.forced(tokens)).hasValue(tokenizer.encode("00")[0]);
    tokens.truncate(1);
    assertThat(constraint.forced(tokens)).isPresent(); // after tokens were taken back
  }

  @Test
  void apply_aShortListWithoutAnyThatIsAllowed_leavesOneThatIs() {
    float[] logits = new float[tokenizer.vocabSize()];
    Arrays.fill(logits, Float.NEGATIVE_INFINITY);
    logits[tokenizer.encode("x")[0]] = 1;

    constraint("[ab]+").apply(logits, tokens("a"));

    int best = TokenDistribution.best(logits);
    assertThat(tokenizer.decode(best)).matches("[ab]+");
  }

  @Test
  void apply_specialTokenThatCountsAsItsName_isTheMarkOfItsGrammar() {
    int special = tokenizer.endOfDocument();
    String name = tokenizer.piece(special);
    GrammarSource marked =
        new GrammarSource.WithSpecials(
            new GrammarSource.AnyText(name, true, GrammarSource.text("ab")), Set.of(special));
    int end = tokenizer.encode("0")[0];
    TokenConstraint constraint = new GrammarMasks(tokenizer).constraint(marked, Set.of(end));
    Tokens tokens = tokens("cats");
    float[] logits = new float[tokenizer.vocabSize()];

    constraint.apply(logits, tokens);
    assertThat(logits).containsOnly(0);
    tokens.append(special);
    assertThat(constraint.forced(tokens)).hasValue(tokenizer.encode("ab")[0]);
    tokens.append(tokenizer.encode("ab")[0]);
    constraint.apply(logits, tokens);

    for (int id = 0; id < logits.length; id++) {
      assertThat(logits[id]).isEqualTo(id == end ? 0 : Float.NEGATIVE_INFINITY);
    }
  }

  @Test
  void constraint_withoutEndTokens_isRefused() {
    assertThatThrownBy(
            () -> new GrammarMasks(tokenizer).constraint(new GrammarSource.JsonObjects(), Set.of()))
        .isInstanceOf(SettingException.class)
        .hasMessage("grammar: needs a token that ends the text; give an end token");
  }
}
