//! Rules and a selector cache become policy map rows.
