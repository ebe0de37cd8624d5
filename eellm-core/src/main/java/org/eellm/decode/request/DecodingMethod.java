package org.eellm.decode.request;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.eellm.config.ConfigException;
import org.eellm.config.HeadId;
import org.eellm.config.SettingException;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftMemory;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.model.Head;

/** How a sequence gets its tokens: which heads it asks, and what becomes of layers left out. */
public sealed interface DecodingMethod extends Serializable {

  /** Tokens leave where a policy says. */
  sealed interface ByPolicy extends DecodingMethod {
    ExitPolicy policy();

    @Override
    default List<Head> heads(List<Head> all) {
      return policy().heads(all);
    }

    @Override
    default Map<Integer, Gate> gates() {
      return policy().gates();
    }
  }

  /**
   * A token leaves at the first exit that is confident enough; its hidden state waits there, and
   * goes through the layers above in front of the next token that needs them, so that all keys and
   * values are exact (EE-LLM, arXiv 2312.04916, section 4).
   */
  record EarlyExit(ExitPolicy policy) implements ByPolicy {}

  /**
   * The tokens of {@link EarlyExit} by EE-LLM's other way, for comparison: nothing waits, and
   * tokens that left early go through the model once more from layer 1, in front of each later
   * token, until one of these has passed all layers.
   */
  record Recompute(ExitPolicy policy) implements ByPolicy {}

  /**
   * Early exit that never completes a token's layers: the layers above have the keys and values
   * that follow from the exit's own hidden state (CALM, arXiv 2207.07061, section 3.3). That is the
   * least work, and other text than the full model's with exact keys and values. Prompts pass all
   * layers.
   */
  record Propagate(ExitPolicy policy) implements ByPolicy {}

  /**
   * An exit drafts tokens, whose hidden states wait there; they pass the layers above as one block,
   * and the full model's head verifies all of them at once (self-speculative decoding). The text is
   * the full model's: the same ids with {@link Sampler#greedy}, the same distribution with {@link
   * org.eellm.decode.sample.RandomSampler}.
   *
   * @param layers of the exits, from 1: a token is drafted by the first that is sure enough, and
   *     the draft ends where none is (DSSD, arXiv 2407.21082)
   * @param filter layer of a deeper exit, or 0 for none: drafts pass it first, and go on from its
   *     own token where it would choose another one (HiSpec, arXiv 2510.01336)
   * @param resume layer from which drafts go on behind the exit's, up to the full model's head, in
   *     place of the exit's head: those between are skipped (SWIFT, arXiv 2410.06916); 0 for none
   */
  record Speculative(List<Integer> layers, DraftLength length, int filter, int resume)
      implements DecodingMethod {
    public Speculative {
      layers = List.copyOf(layers);
    }

    public Speculative(List<Integer> layers, DraftLength length) {
      this(layers, length, 0, 0);
    }

    /** By one exit. */
    public Speculative(int layer, DraftLength length) {
      this(List.of(layer), length);
    }

    @Override
    public List<Head> heads(List<Head> all) {
      Head full = all.getLast();
      List<Integer> asked = new ArrayList<>(layers);
      if (filter > 0) {
        asked.add(filter);
      }
      if (asked.contains(full.layer())) {
        throw new SettingException(
            "draft-exit",
            "layer %d is the model's last, which drafts no faster than the full model; use an exit below"
                .formatted(full.layer()));
      }
      if (resume > 0 && (resume <= Collections.max(layers) + 1 || resume > full.layer())) {
        throw new SettingException(
            "draft-resume",
            "layer %d skips nothing between layer %s and the last, %d; use one between"
                .formatted(resume, Collections.max(layers), full.layer()));
      }
      List<Head> heads = new ArrayList<>(ExitPolicies.exits(all, asked));
      heads.add(full);
      return heads;
    }
  }

  /** Speculative decoding that says where drafts come from. */
  sealed interface OfSource extends DecodingMethod {
    DraftSource source();

    DraftMemory memory();

    @Override
    default boolean usesDraftHead() {
      return source().hasDraftHead();
    }

    private static void require(DraftSource source, DraftMemory memory) {
      if (source.isShared() && memory == DraftMemory.OWN) {
        throw new SettingException(
            "draft-memory",
            "own leaves nothing to draft from by the source %s; use shared".formatted(source));
      }
    }
  }

  /**
   * Speculative decoding by one source, whatever its drafts cost: what is drafted depends on no
   * clock.
   *
   * @param source one without exits, which {@link Speculative} has
   */
  record FixedDrafts(DraftSource source, DraftMemory memory, DraftLength length)
      implements OfSource {
    public FixedDrafts {
      OfSource.require(source, memory);
    }

    @Override
    public List<Head> heads(List<Head> all) {
      return List.of(all.getLast());
    }
  }

  /**
   * Speculative decoding whose drafter and draft lengths are chosen while the text is written, from
   * what steps cost and how often drafts were accepted; the full model alone where nothing gains.
   * Where a text's last tokens came before, what followed drafts, with no exit needed.
   */
  record AdaptiveDrafts(DraftSource source, DraftMemory memory) implements OfSource {
    public AdaptiveDrafts {
      OfSource.require(source, memory);
    }

    /** Drafts from other requests, too. */
    public AdaptiveDrafts(DraftSource source) {
      this(source, DraftMemory.SHARED);
    }

    @Override
    public List<Head> heads(List<Head> all) {
      return source.hasExits() ? all : List.of(all.getLast());
    }
  }

  /**
   * Nothing is generated: the tokens emitted are those of a text that is there already, each with
   * what a head says of it; all heads go through the same layers once.
   *
   * @param heads which of them
   * @param from position, from 1, of the first token whose predictions are reported
   * @param last the text's last token; those before it are the prompt
   * @param listener receives each head's prediction before the token is emitted
   * @param ofShortList whether exits are asked for the short list of ids, and those of the text
   *     before, alone
   */
  record Score(List<HeadId> heads, int from, int last, ScoreListener listener, boolean ofShortList)
      implements DecodingMethod {
    public Score {
      heads = List.copyOf(heads);
    }

    @Override
    public List<Head> heads(List<Head> all) {
      List<HeadId> known = all.stream().map(Head::id).toList();
      for (HeadId head : heads) {
        if (!known.contains(head)) {
          throw new ConfigException(
              "head: '%s' is none of the model's; use one of %s".formatted(head, known));
        }
      }
      return all.stream().filter(head -> heads.contains(head.id())).toList();
    }
  }

  /** The fastest method whose text is the full model's: adaptive drafts. */
  static DecodingMethod lossless() {
    return new AdaptiveDrafts(DraftSource.BOTH);
  }

  /** The full model; its exits are not computed. */
  static DecodingMethod full() {
    return new EarlyExit(ExitPolicies.full());
  }

  /**
   * The heads to ask, shallowest first.
   *
   * @param all the model's heads in order of depth, the final head last
   * @throws ConfigException if the model lacks what is needed
   */
  List<Head> heads(List<Head> all);

  default boolean usesDraftHead() {
    return false;
  }

  /** The gates that decide where a token leaves, by their exits' layers; most have none. */
  default Map<Integer, Gate> gates() {
    return Map.of();
  }
}
