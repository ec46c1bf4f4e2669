0D Ylˆ$´zo’W‰®c
p¡†-=ƒ£±­lñY¸cMEª y+›HRšmõ?×¨øðæîâÈÏy^Þab,wµ