package org.eellm.decode.sample;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.grammar.Grammar;
import org.eellm.grammar.GrammarSource;

/**
 * The grammars of a model's texts: made once for many requests, with the masks of its vocabulary.
 * For any number of threads.
 */
public final class GrammarMasks {
  /** Grammars that are kept. */
  private static final int MOST = 16;

  private final Tokenizer tokenizer;
  private final Map<Set<Integer>, TokenTree> trees = new HashMap<>(); // by special tokens in them
  private final Map<GrammarSource, TokenConstraint.Rules> known =
      new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(
            Map.Entry<GrammarSource, TokenConstraint.Rules> eldest) {
          return size() > MOST;
        }
      };

  public GrammarMasks(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /**
   * Holds a text to a grammar.
   *
   * @param endTokens ids that end the text, at least one
   * @throws org.eellm.grammar.GrammarException if the source is no grammar
   */
  public TokenConstraint constraint(GrammarSource source, Set<Integer> endTokens) {
    return new TokenConstraint(rules(source), endTokens);
  }

  private synchronized TokenConstraint.Rules rules(GrammarSource source) {
    TokenConstraint.Rules rules = known.get(source);
    if (rules == null) {
      Grammar grammar = Grammar.of(source);
      TokenTree tree =
          trees.computeIfAbsent(source.specials(), named -> new TokenTree(tokenizer, named));
      rules = new TokenConstraint.Rules(grammar, tree);
      known.put(source, rules);
    }
    return rules;
  }
}
