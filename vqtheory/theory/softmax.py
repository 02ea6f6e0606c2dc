"""How far a softmax over dot products with random codes is open, as in index backpropagation (Shi et al., arXiv 2412.02692).

Of codes from N(0, I_D) and a latent x the similarities x . c_k / T are K independent normal numbers with the spread beta =
|x| / T: the random energy model (Derrida 1981) at the inverse temperature beta. All that follows comes from its mean free
energy, exactly and at any K (derived here),

    G(beta) = E ln sum_k e^(beta g_k) = ln beta-free integral of one variable,        p = softmax(beta g)

    E H(p) = G - beta G',      E sum_k p_k^2 = 1 - G' / beta,      E Var_p(g) = G''

and the derivative of the mixture sum_k p_k c_k in x is Cov_p(c) / T, with E tr Cov_p(c) = (D - 1) G' / beta + G''. With
|x|^2 = D, for large K, G = ln K + beta^2 / 2 up to the freezing at beta = sqrt(2 ln K), and beta sqrt(2 ln K) beyond, so that
ln K - D / 2 is left of the entropy up to D = 2 ln K, and nothing of its order beyond.
"""
