package org.eellm.decode.engine;

/**
 * What a head is asked for.
 *
 * @param drafts whether for drafts, see {@link ModelRunner#draft}
 * @param bestOnly whether nothing of its output is looked at but the most probable ids and their
 *     probabilities, so that another rank need not send all logits
 */
public record HeadQuestion(boolean drafts, boolean bestOnly) {}
